// A public SMART app: standalone launch, EHR launch, PKCE. https://hl7.org/fhir/smart-app-launch/app-launch.html
"use strict";

const CLIENT = "sample-app";
const HOME = new URL("./", location.href).href;
const READ = "openid fhirUser patient/Patient.rs patient/Observation.rs";
const kept = sessionStorage;
const at = (id) => document.getElementById(id);

const text64 = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const secret = () => text64(crypto.getRandomValues(new Uint8Array(32)));

async function digest(text) {
  return text64(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

async function json(url, options = {}) {
  const answer = await fetch(url, options);
  const body = await answer.json();
  if (!answer.ok) {
    throw new Error(body.error_description ?? body.issue?.[0]?.diagnostics ?? `${url} answered ${answer.status}`);
  }
  return body;
}

// to the authorization server, and with it all that is needed when the browser comes back
async function launch(iss, scope, more = {}) {
  const server = await json(`${iss}/.well-known/smart-configuration`);
  const [state, verifier] = [secret(), secret()];
  const going = { iss, verifier, token: server.token_endpoint, issuer: server.issuer };
  kept.setItem(state, JSON.stringify(going));
  const asked = new URLSearchParams({
    response_type: "code",
    client_id: CLIENT,
    redirect_uri: HOME,
    scope,
    state,
    aud: iss,
    code_challenge: await digest(verifier),
    code_challenge_method: "S256",
    ...more,
  });
  location.assign(`${server.authorization_endpoint}?${asked}`);
}

async function back(answer) {
  const state = answer.get("state") ?? "";
  const going = JSON.parse(kept.getItem(state) ?? "null");
  kept.removeItem(state);
  history.replaceState(null, "", HOME);
  if (going === null) throw new Error("This answer belongs to no launch of this window; connect again.");
  if (answer.get("iss") !== going.issuer) throw new Error("This answer comes from another server.");
  if (answer.has("error")) throw new Error(answer.get("error_description") ?? answer.get("error"));
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: HOME,
    client_id: CLIENT,
    code_verifier: going.verifier,
  });
  const token = await json(going.token, { method: "POST", body });
  kept.setItem("token", JSON.stringify({ iss: going.iss, ...token }));
}

// the record

async function show(token) {
  const headers = { Authorization: `Bearer ${token.access_token}`, Accept: "application/fhir+json" };
  const patient = await json(`${token.iss}/Patient/${token.patient}`, { headers });
  const name = patient.name?.[0] ?? {};
  at("patient").textContent = name.text ?? [...(name.given ?? []), name.family].filter(Boolean).join(" ");
  at("facts").textContent = [patient.gender, patient.birthDate && `born ${patient.birthDate}`].filter(Boolean).join(", ");
  const newest = `${token.iss}/Observation?patient=${token.patient}&_sort=-date&_count=10`;
  const found = await json(newest, { headers });
  at("observations").replaceChildren(...(found.entry ?? []).map(({ resource }) => row(resource)));
  const { access_token, id_token, iss, ...said } = token;
  at("token").textContent = JSON.stringify(said, null, 2);
  at("record").hidden = false;
}

function row(observation) {
  const code = observation.code?.text ?? observation.code?.coding?.[0]?.display ?? "";
  const line = document.createElement("tr");
  for (const text of [code, value(observation), (observation.effectiveDateTime ?? "").slice(0, 10)]) {
    line.appendChild(document.createElement("td")).textContent = text;
  }
  return line;
}

function value(of) {
  if (of.valueQuantity) return `${Math.round(of.valueQuantity.value * 100) / 100} ${of.valueQuantity.unit ?? ""}`;
  if (of.component) return of.component.map(value).filter(Boolean).join(", ");
  return of.valueCodeableConcept?.text ?? of.valueCodeableConcept?.coding?.[0]?.display ?? of.valueString ?? "";
}

async function main() {
  const query = new URLSearchParams(location.search);
  if (query.has("launch") && query.has("iss")) {
    await launch(query.get("iss"), `launch ${READ}`, { launch: query.get("launch") });
    return;
  }
  if (query.has("state")) await back(query);
  const token = JSON.parse(kept.getItem("token") ?? "null");
  if (token !== null) {
    await show(token);
  } else if (at("start")) {
    at("start").hidden = false;
  } else {
    throw new Error("An EHR opens this page, with ?iss=…&launch=…");
  }
}

function failed(error) {
  kept.removeItem("token");
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  if (at("start")) at("start").hidden = false;
}

at("launch")?.addEventListener("click", () => launch(new URL("../fhir", HOME).href, `launch/patient ${READ}`).catch(failed));
at("leave")?.addEventListener("click", () => {
  kept.removeItem("token");
  location.assign(HOME);
});
main().catch(failed);
