"""Random requests that write, among those that read: of one's own, of others', and of what moves between them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from paths import Path
from random_requests import IDS, Asking
from record import FORM, SECRET, Resource, code, document, pulse, resource, to

BASE = "https://fhir.example/fhir"
CLASS = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
PREFER = ("return=minimal", "return=representation", "return=OperationOutcome")
LINK = "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"


class Changing(Asking):
    def kinds(self) -> dict[Callable[[], Path], int]:
        return super().kinds() | {
            self.create: 4,
            self.update: 4,
            self.patch: 4,
            self.delete: 2,
            self.transaction: 4,
            self.validate: 1,
        }

    # what is written

    def whose(self) -> dict[str, str]:
        return to(
            self.pick(
                (
                    *(("Patient/p",) * 6),
                    *("Patient/q", "Patient/r", "Patient/nobody", f"{BASE}/Patient/q", "Patient/q/_history/1"),
                    *(f"{BASE}/Patient/p", "Patient?family=zuse", "Patient?family=lovelace"),
                )
            )
        )

    def other(self) -> dict[str, str]:
        return to(self.pick(self.references()))

    def another(self, type_: str) -> dict[str, str]:
        """To some resource of a type."""
        return to(self.pick([each for each in self.references() if each.startswith(f"{type_}/")] or [f"{type_}/x"]))

    def body(self, type_: str) -> Resource:
        """A resource of a type, whose id is `x`."""
        whose = self.whose()
        more = BODIES[type_](self) if type_ in BODIES else {}
        of_patient = {} if type_ in ("Binary", "Group", "Provenance", "Device") else {"subject": whose}
        if type_ in (
            "Organization",
            "Practitioner",
            "Patient",
            "Location",
            "PractitionerRole",
            "QuestionnaireResponse",
        ):
            of_patient = {}
        return resource(f"{type_}/x", **of_patient) | more

    def _observation(self) -> Resource:
        value = self.random.randint(50, 210)
        more = self.pick(
            (
                *({}, {}),
                {"performer": [self.other()]},
                {"hasMember": [self.another("Observation")]},
                {"encounter": self.another("Encounter")},
                {"device": self.another("Device")},
                {"focus": [self.other()]},
                {"note": [{"text": self.pick((SECRET, "rest"))}]},
            )
        )
        category = self.pick(("vital-signs", "laboratory"))
        return {key: v for key, v in (pulse("x", "p", value, category) | more).items() if key != "subject"}

    def _condition(self) -> Resource:
        return {"code": code("Cold", "82272006"), "asserter": self.another("Practitioner")}

    def _encounter(self) -> Resource:
        more = self.pick(({}, {"partOf": self.another("Encounter")}, {"serviceProvider": self.another("Organization")}))
        return {"status": "finished", "class": CLASS} | more

    def _medicationrequest(self) -> Resource:
        return {"status": "active", "intent": "order", "medicationReference": self.another("Medication")}

    def _documentreference(self) -> Resource:
        of = document("x", "p", self.pick(("letter", "own", "other", "loose", "nobody")), "Title")
        return {key: value for key, value in of.items() if key != "subject"}

    def _binary(self) -> Resource:
        more = self.pick(({}, {"securityContext": self.whose()}, {"securityContext": self.other()}))
        return {"contentType": "text/plain", "data": "aGk="} | more

    def _device(self) -> Resource:
        return self.pick(({}, {"patient": self.whose()}, {"owner": self.another("Organization")}))

    def _list(self) -> Resource:
        return {"status": "current", "mode": "working", "entry": [{"item": self.other()}]}

    def _questionnaireresponse(self) -> Resource:
        """Of a questionnaire that the record names: who names the URL of another one may read that, too."""
        return {"status": "completed", "questionnaire": FORM, "subject": self.whose()}

    def _group(self) -> Resource:
        return {"type": "person", "actual": True, "member": [{"entity": self.whose()}, {"entity": self.whose()}]}

    def _provenance(self) -> Resource:
        return {"target": [self.other()], "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": self.other()}]}

    def _basic(self) -> Resource:
        return {"code": {"text": "note"}, "author": self.other()}

    def _flag(self) -> Resource:
        return {"status": "active", "code": {"text": "flag"}}

    def _careteam(self) -> Resource:
        return {"status": "active", "participant": [{"member": self.other()}]}

    def _organization(self) -> Resource:
        return {"name": self.pick((SECRET, "New")), "partOf": self.another("Organization")}

    def _practitionerrole(self) -> Resource:
        return {"practitioner": self.another("Practitioner"), "organization": self.another("Organization")}

    def _patient(self) -> Resource:
        more = self.pick(
            (
                {"link": [{"other": self.whose(), "type": "seealso"}]},
                {"generalPractitioner": [self.another("Practitioner")]},
                {"managingOrganization": self.another("Organization")},
            )
        )
        return {"name": [{"family": self.pick(("Lovelace", SECRET))}]} | more

    # how it is written

    def create(self) -> Path:
        type_ = self.pick(WRITTEN_OFTEN)
        headers = [("Prefer", self.pick(PREFER))]
        if self.random.random() < 0.4:
            headers.append(("If-None-Exist", self.condition(type_)))
        return Path("create", type_, "POST", self.named(type_, None), tuple(headers))

    def update(self) -> Path:
        headers = [("Prefer", self.pick(PREFER)), *self.versions()]
        type_, id_ = self.target()
        if self.random.random() < 0.3:
            url = f"{type_}?{self.condition(type_)}"
            return Path("update", url, "PUT", self.named(type_, self.pick((None, id_, "chosen"))), tuple(headers))
        return Path("update", f"{type_}/{id_}", "PUT", self.named(type_, id_), tuple(headers))

    def patch(self) -> Path:
        headers = [("Prefer", self.pick(PREFER)), *self.versions()]
        type_, id_ = self.target()
        name = f"{type_}?{self.condition(type_)}" if self.random.random() < 0.25 else f"{type_}/{id_}"
        return Path("patch", name, "PATCH", self.pick((self.json_patch, self.fhirpath_patch))(), tuple(headers))

    def delete(self) -> Path:
        type_, id_ = self.target()
        name = f"{type_}?{self.condition(type_)}" if self.random.random() < 0.3 else f"{type_}/{id_}"
        return Path("delete", name, "DELETE", None, self.versions())

    def validate(self) -> Path:
        type_, id_ = self.target()
        mode = self.pick(("", "?mode=create", "?mode=update", "?mode=delete"))
        place = self.pick((type_, f"{type_}/{id_}"))
        return Path("operation", f"{place}/$validate{mode}", "POST", self.named(type_, id_))

    def transaction(self) -> Path:
        kind = self.pick(("transaction", "transaction", "batch"))
        entries = [self.entry() for _ in range(self.random.randint(1, 4))]
        if self.random.random() < 0.4:
            entries[0]["fullUrl"] = LINK
            linking = self.named("Observation", None) | {"hasMember": [to(LINK)]}
            entries.append({"request": {"method": "POST", "url": "Observation"}, "resource": linking})
        return Path(kind, "", "POST", {"resourceType": "Bundle", "type": kind, "entry": entries})

    def entry(self) -> Resource:
        path = self.pick((self.create, self.update, self.patch, self.delete, lambda: Path("search", self.search())))()
        said = dict(path.headers)
        request = {"method": path.method, "url": path.url}
        for header, name in (
            ("If-None-Exist", "ifNoneExist"),
            ("If-Match", "ifMatch"),
            ("If-None-Match", "ifNoneMatch"),
        ):
            request |= {name: said[header]} if header in said else {}
        body = path.body
        if isinstance(body, list):
            data = b64encode(json.dumps(body).encode()).decode()
            body = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
        return {"request": request} | ({} if body is None else {"resource": body})

    def target(self) -> tuple[str, str]:
        """Often one's own; now and then what is not there."""
        names = [each for each in (*self.references(), *self.made) if each.partition("/")[0] in WRITTEN]
        type_, _, id_ = self.pick(names).partition("/")
        if (type_, id_) == ("Patient", "p") and self.random.random() < 0.8:
            type_, id_ = "Observation", "pulse"
        return type_, self.pick((id_, id_, id_, id_, "nobody", self.pick(IDS)))

    def named(self, type_: str, id_: str | None) -> Resource:
        body = {key: value for key, value in self.body(type_).items() if key != "id"}
        return body if id_ is None else body | {"id": id_}

    def condition(self, type_: str) -> str:
        found: str = self.pick(
            (
                self.criterion(type_),
                self.criterion(type_),
                f"_id={self.pick(IDS)}",
                "&".join((self.criterion(type_), self.criterion(type_))),
            )
        )
        return found

    def versions(self) -> tuple[tuple[str, str], ...]:
        found: tuple[tuple[str, str], ...] = self.pick(
            ((), (), (), (), (("If-Match", f'W/"{self.random.randint(1, 3)}"'),), (("If-None-Match", "*"),))
        )
        return found

    def json_patch(self) -> list[Any]:
        found = [
            {"op": "test", "path": "/status", "value": self.pick(("final", "amended"))},
            {"op": "replace", "path": "/status", "value": self.pick(("amended", "final", "nonsense"))},
            {"op": "replace", "path": "/subject/reference", "value": self.whose()["reference"]},
            {"op": "add", "path": "/language", "value": self.pick(("en", "de"))},
            {"op": "remove", "path": self.pick(("/note", "/performer", "/subject", "/name/0"))},
            {"op": "add", "path": "/performer", "value": [self.other()]},
            {"op": "replace", "path": "/category/0/coding/0/code", "value": self.pick(("laboratory", "vital-signs"))},
            {"op": "copy", "from": "/code/text", "path": "/language"},
        ]
        return self.random.sample(found, self.random.randint(1, 2))

    def fhirpath_patch(self) -> Resource:
        type_, path, value = self.pick(
            (
                ("replace", "Observation.status", {"name": "value", "valueCode": "amended"}),
                ("replace", "Observation.subject", {"name": "value", "valueReference": self.whose()}),
                ("delete", f"Observation.note.where(text='{SECRET}')", None),
                ("delete", "Patient.name.first()", None),
                ("replace", "Condition.subject", {"name": "value", "valueReference": self.whose()}),
            )
        )
        parts = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}, value]
        said = {"name": "operation", "part": [each for each in parts if each]}
        return {"resourceType": "Parameters", "parameter": [said]}


BODIES: dict[str, Callable[[Changing], Resource]] = {
    "Basic": Changing._basic,
    "Binary": Changing._binary,
    "CareTeam": Changing._careteam,
    "Condition": Changing._condition,
    "Device": Changing._device,
    "DocumentReference": Changing._documentreference,
    "Encounter": Changing._encounter,
    "Flag": Changing._flag,
    "Group": Changing._group,
    "List": Changing._list,
    "MedicationRequest": Changing._medicationrequest,
    "Observation": Changing._observation,
    "Organization": Changing._organization,
    "Patient": Changing._patient,
    "PractitionerRole": Changing._practitionerrole,
    "Provenance": Changing._provenance,
    "QuestionnaireResponse": Changing._questionnaireresponse,
}
WRITTEN = {*BODIES, "Location", "Practitioner"}
WRITTEN_OFTEN = (*(["Observation"] * 12), *sorted(WRITTEN))
