// Passkeys in the browser: https://www.w3.org/TR/webauthn-3/#sctn-parseCreationOptionsFromJSON
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function ask(url, body) {
  const answer = await fetch(url, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error_description);
  return value;
}

function shown(credential) {
  const response = { clientDataJSON: text(credential.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"])
    if (credential.response[name]) response[name] = text(credential.response[name]);
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response, clientExtensionResults: {} };
}

async function add(form) {
  const options = await ask(form.action + "/options", { password: form.elements.password.value });
  options.challenge = bytes(options.challenge);
  options.user.id = bytes(options.user.id);
  for (const known of options.excludeCredentials ?? []) known.id = bytes(known.id);
  const credential = await navigator.credentials.create({ publicKey: options });
  await ask(form.action, { name: form.elements.name.value, credential: shown(credential) });
  location.reload();
}

async function logIn(form) {
  const options = await ask(form.action + "/options", {});
  options.challenge = bytes(options.challenge);
  delete options.allowCredentials;
  const credential = await navigator.credentials.get({ publicKey: options });
  const entered = await ask(form.action, { next: form.elements.next.value, credential: shown(credential) });
  location.assign(entered.next);
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = form.querySelector("[role=alert]");
    problem.hidden = true;
    try {
      await (form.dataset.passkey === "add" ? add(form) : logIn(form));
    } catch (error) {
      if (error.name === "NotAllowedError") return;  // the person thought better of it
      problem.textContent = error.message;
      problem.hidden = false;
    }
  });
}
