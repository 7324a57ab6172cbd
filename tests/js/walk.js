// What a JavaScript app does with fhir-kit-client. Prints one JSON line; the Python test reads it.
import { Client } from "fhir-kit-client";

const client = new Client({ baseUrl: process.argv[2] });
const family = process.argv[3];
const out = {};

for (let number = 0; number < 5; number += 1) {
  const body = { resourceType: "Patient", name: [{ family, given: [`Given${number}`] }] };
  const created = await client.create({ resourceType: "Patient", body });
  out.id ??= created.id;
}

const statement = await client.capabilityStatement();
out.fhirVersion = statement.fhirVersion;

const patient = await client.read({ resourceType: "Patient", id: out.id });
const updated = await client.update({ resourceType: "Patient", id: out.id, body: { ...patient, gender: "other" } });
out.version = updated.meta.versionId;
const first = await client.vread({ resourceType: "Patient", id: out.id, version: "1" });
out.firstGender = first.gender ?? null;

const patched = await client.patch({
  resourceType: "Patient",
  id: out.id,
  jsonPatch: [{ op: "replace", path: "/gender", value: "female" }],
});
out.patched = patched.gender;

let page = await client.search({ resourceType: "Patient", searchParams: { family, _count: 2 } });
out.pages = [];
while (page) {
  out.pages.push(page.entry.length);
  const next = client.nextPage({ bundle: page });
  page = next ? await next : undefined;
}

const byPost = await client.search({ resourceType: "Patient", searchParams: { family }, options: { postSearch: true } });
out.byPost = byPost.entry.length;

const history = await client.history({ resourceType: "Patient", id: out.id });
out.versions = history.total;

const bundle = {
  resourceType: "Bundle",
  type: "transaction",
  entry: [{ request: { method: "DELETE", url: `Patient/${out.id}` } }],
};
const result = await client.transaction({ body: bundle });
out.transaction = result.entry[0].response.status;
try {
  await client.read({ resourceType: "Patient", id: out.id });
} catch (error) {
  out.gone = error.response.status;
  out.outcome = error.response.data.resourceType;
}
console.log(JSON.stringify(out));
