// A public SMART app: standalone launch, EHR launch, PKCE. https://hl7.org/fhir/smart-app-launch/app-launch.html
"use strict";

const CLIENT = "sample-app";
const HOME = new URL("./", location.href).href;
const LOOKED = "patient/AuditEvent.rs";
const READ = `openid fhirUser patient/Patient.rs patient/Observation.rs ${LOOKED} patient/Practitioner.rs`;
const DID = { read: "Read", vread: "Read", "search-type": "Searched", create: "Added", update: "Changed", patch: "Changed", delete: "Removed" };
const APP = "110153"; // of DICOM: the source of a request, which is an app
const EMERGENCY = "110127"; // of DICOM: Emergency Override Started
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
  at("patient").textContent = called(patient);
  at("facts").textContent = [patient.gender, patient.birthDate && `born ${patient.birthDate}`].filter(Boolean).join(", ");
  const newest = `${token.iss}/Observation?patient=${token.patient}&_sort=-date&_count=10`;
  const found = await json(newest, { headers });
  at("observations").replaceChildren(...(found.entry ?? []).map(({ resource }) => row(measured(resource))));
  if (token.scope.split(" ").includes(LOOKED)) await showLooks(token, headers); // people may untick it
  const { access_token, id_token, iss, ...said } = token;
  at("token").textContent = JSON.stringify(said, null, 2);
  at("record").hidden = false;
}

function row(texts) {
  const line = document.createElement("tr");
  for (const text of texts) line.appendChild(document.createElement("td")).textContent = text;
  return line;
}

function called({ name: [name] = [{}] }) {
  return name.text ?? [...(name.prefix ?? []), ...(name.given ?? []), name.family].filter(Boolean).join(" ");
}

function measured(observation) {
  const code = observation.code?.text ?? observation.code?.coding?.[0]?.display ?? "";
  return [code, value(observation), (observation.effectiveDateTime ?? "").slice(0, 10)];
}

function value(of) {
  if (of.valueQuantity) return `${Math.round(of.valueQuantity.value * 100) / 100} ${of.valueQuantity.unit ?? ""}`;
  if (of.component) return of.component.map(value).filter(Boolean).join(", ");
  return of.valueCodeableConcept?.text ?? of.valueCodeableConcept?.coding?.[0]?.display ?? of.valueString ?? "";
}

// who looked at it: https://profiles.ihe.net/ITI/BALP/, and whatever other systems note, of which little has to be there

async function showLooks(token, headers) {
  const latest = `AuditEvent?patient=${token.patient}&_sort=-date&_count=100&_include=AuditEvent:agent`;
  const found = ((await json(`${token.iss}/${latest}`, { headers })).entry ?? []).map(({ resource }) => resource);
  const events = found.filter(({ resourceType }) => resourceType === "AuditEvent");
  const names = new Map(found.filter((each) => each.name).map((each) => [`${each.resourceType}/${each.id}`, called(each)]));
  const others = events.filter((event) => asker(event).who?.reference !== `Patient/${token.patient}`);
  at("own").textContent = `Of the last ${events.length} times, ${events.length - others.length} by the patient are left out.`;
  at("looks").replaceChildren(...others.map((event) => row([who(asker(event), names), did(event), when(event)])));
  at("looked").hidden = false;
}

const asker = ({ agent }) => agent.find(({ requestor }) => requestor) ?? agent[0];

function who({ who: { reference, display, identifier } = {}, name, type }, names) {
  const app = type?.coding?.some(({ code }) => code === APP);
  const said = names.get(reference) || display || name || reference;
  return said ?? (app ? `The service ${identifier?.value}` : "Somebody who has no name here");
}

function did({ subtype: [{ code, display } = {}] = [], type, entity = [], outcome = "0" }) {
  if (code === EMERGENCY) {
    const reason = entity.flatMap(({ detail }) => detail ?? []).find(({ type }) => type === "reason");
    return `Opened it in an emergency: ${reason?.valueString ?? "no reason is known"}`;
  }
  const named = entity.filter(({ role }) => role?.code !== "1").map(({ what }) => what?.reference?.split("/")[0]);
  const types = new Set([...entity.map(({ query }) => searched(query)), ...named].filter(Boolean));
  const done = DID[code] ?? display ?? type.display ?? "Did something else";
  return [done, [...types].join(", "), outcome !== "0" && "it failed"].filter(Boolean).join(": ");
}

// the type that a query asks for, where it is one of FHIR
const searched = (query = "") => atob(query).match(/^[A-Z][A-Za-z]+(?=[/?]|$)/)?.[0];

// Swedes write dates as ISO 8601 does
const when = ({ recorded }) => new Date(recorded).toLocaleString("sv", { timeZone: "UTC" }).slice(0, 16);

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
