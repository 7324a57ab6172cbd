"""All paths to data. Each is tried by an app of one patient, in worlds that differ in what others have.

`body` goes with POST, PUT and PATCH. What is new is added here: the leak tests, and the test that finds reads of the
store, know of it by that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from consent_rules import consent, deny
from record import FORM, document, pulse, resource, to


class Path(NamedTuple):
    kind: str
    url: str
    method: str = "GET"
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


def parameters(**values: Any) -> dict[str, Any]:
    return resource("Parameters/x", parameter=[{"name": name, "valueString": text} for name, text in values.items()])


def reads(name: str) -> list[Path]:
    return [
        Path("read", name),
        Path("read", name, "HEAD"),
        Path("read", f"{name}?_summary=true"),
        Path("read", f"{name}?_elements=id"),
        Path("vread", f"{name}/_history/1"),
        Path("vread", f"{name}/_history/2"),
        Path("vread", f"{name}/_history/9"),
        Path("history-instance", f"{name}/_history"),
    ]


NAMES = (
    *("Patient/p", "Patient/q", "Observation/pulse", "Observation/other", "Observation/old", "Observation/other-gone"),
    *("Observation/corrected", "Condition/other", "Encounter/other", "MedicationRequest/other", "List/other"),
    *("DocumentReference/other", "Binary/letter", "Binary/scan", "Binary/own", "Binary/other"),
    *("Binary/loose", "Device/implant", "Device/other"),
    *("Organization/clinic", "Organization/trust", "Organization/other", "Practitioner/doctor", "Practitioner/nurse"),
    *("Practitioner/other", "PractitionerRole/role", "PractitionerRole/other", "Location/ward", "Location/other"),
    *("Medication/aspirin", "Medication/other", "Questionnaire/form", "Questionnaire/other", "Group/family"),
    *(
        "Consent/foreign",
        "Group/others",
        "Provenance/other",
        "Basic/other",
        "Flag/other",
        "Bundle/other",
        "Bundle/others",
        "Bundle/summary",
        "CodeSystem/other",
    ),
)

SEARCHES = (
    "Patient",
    "Patient?_id=p,q",
    "Patient?_id:not=p",
    "Patient?family=lovelace&_sort=family,-_lastUpdated",
    "Patient?_sort=-family&_count=1",
    "Patient?_lastUpdated=gt2000",
    "Patient?name:missing=false",
    "Patient?_text=zuse",
    "Patient?_content=zuse",
    "Patient?link=Patient/p",
    "Patient?link:missing=true",
    "Patient?general-practitioner=Practitioner/doctor",
    "Patient?general-practitioner.name=zuse",
    "Patient?organization.partof.name=trust",
    "Patient?_has:Observation:patient:value-quantity=gt100",
    "Patient?_has:Observation:patient:_id=other",
    "Patient?_has:Group:member:_id=others",
    "Patient?_has:List:item:_id=other",
    "Patient?_has:Observation:patient:_has:Provenance:target:recorded=gt2000",
    "Patient?_list=list",
    "Patient?_list=other",
    "Patient?_filter=family eq zuse",
    "Patient?_filter=family eq lovelace or family eq zuse",
    "Observation",
    "Observation?code=8867-4&_sort=-date",
    "Observation?code=8867-4&_sort=-value-quantity,date&_count=1",
    "Observation?value-quantity=gt100",
    "Observation?value-quantity:missing=false&_total=accurate&_count=1",
    "Observation?_total=estimate&_count=1",
    "Observation?_summary=count",
    "Observation?_count=0",
    "Observation?_maxresults=2",
    "Observation?patient=q",
    "Observation?patient=Patient/p,Patient/q",
    "Observation?subject:Patient.family=zuse",
    "Observation?subject.name=zuse",
    "Observation?patient.family=lovelace",
    "Observation?patient.general-practitioner=Practitioner/doctor",
    "Observation?focus=Patient/p",
    "Observation?has-member=Observation/pulse",
    "Observation?has-member.value-quantity=gt100",
    "Observation?derived-from.subject:Patient.family=lovelace",
    "Observation?encounter=Encounter/visit",
    "Observation?encounter:Encounter.location.name=ward",
    "Observation?_has:Observation:has-member:subject=Patient/q",
    "Observation?_has:Observation:has-member:value-quantity=gt100",
    "Observation?_has:Provenance:target:recorded=gt2000",
    "Observation?performer.practitioner.name=seacole",
    "Observation?code:in=http://hl7.org/fhir/ValueSet/observation-vitalsignresult",
    "Observation?subject:above=Patient/p",
    "Encounter?location:below=Location/house",
    "Encounter?location:above=Location/ward",
    "Encounter?part-of=Encounter/visit",
    "Encounter?part-of:below=Encounter/visit",
    "Location",
    "Location?partof=Location/ward",
    "Location?partof:below=Location/house",
    "Location?near=42|-83",
    "Organization?name=zuse",
    "Organization?_sort=name",
    "Organization?_has:Patient:organization:family=zuse",
    "Practitioner",
    "Practitioner?name=zuse",
    "Practitioner?_has:Patient:general-practitioner:family=zuse",
    "Practitioner?_has:PractitionerRole:practitioner:specialty:missing=false",
    "PractitionerRole?practitioner=Practitioner/doctor",
    "Medication",
    "Medication?manufacturer=Organization/clinic",
    "Medication?_contained=true",
    "Medication?_contained=both&_containedType=contained",
    "MedicationRequest?medication=Medication/aspirin",
    "MedicationRequest?medication.code=1191",
    "Binary",
    "Binary?_id=letter,other,loose",
    "Device",
    "Device?patient=p",
    "Device?patient=q",
    "Questionnaire",
    "Questionnaire?_has:QuestionnaireResponse:questionnaire:subject=Patient/q",
    "QuestionnaireResponse?questionnaire=" + FORM,
    "QuestionnaireResponse?questionnaire.title=zuse",
    "DocumentReference",
    "DocumentReference?location=Binary/other",
    "Group",
    "Group?member=Patient/q",
    "List?item=Patient/p",
    "Provenance?target=Observation/pulse",
    "Bundle",
    "Bundle?composition.title=zuse",
    "Bundle?composition.patient.family=zuse",
    "Basic",
    "Flag?subject=Patient/q",
    "CodeSystem",
    "AuditEvent",
    "AuditEvent?entity=Observation/other",
    "AuditEvent?_has:AuditEvent:entity:patient=q",
    "Patient?_has:AuditEvent:patient:action=R",
    "Consent",
    "Consent?patient=q",
    "Consent?actor=Practitioner/other",
    "Consent?patient.family=zuse",
    "Consent?_include=Consent:actor&_include=Consent:patient",
    "Patient?_has:Consent:patient:status=active",
    "Condition?encounter=Encounter/visit",
    "?_type=Patient,Observation",
    "?_type=Patient,Observation&_sort=-_lastUpdated",
    "?_id=other",
    "?_lastUpdated=gt2000&_total=accurate&_count=2",
    "Patient/p/Observation",
    "Patient/p/*",
    "Patient/q/Observation",
    "Patient/q/*",
    "Patient/nobody/*",
    "Encounter/visit/Observation",
    "Encounter/visit/*",
    "Encounter/other/*",
    "Practitioner/doctor/Condition",
    "Practitioner/other/*",
    "Patient?_include=Patient:general-practitioner&_include=Patient:link",
    "Patient?_include=Patient:*&_revinclude=Patient:link",
    "Patient?_id=p,q&_revinclude=*",
    "Patient?_revinclude=Observation:patient&_revinclude=List:item&_revinclude=Group:member",
    "Observation?_include=*&_revinclude=Observation:has-member&_revinclude=Provenance:target",
    "Observation?_id=pulse&_revinclude:iterate=Observation:has-member&_revinclude=List:item",
    "Observation?_include=Observation:performer&_include:iterate=PractitionerRole:practitioner",
    "Observation?_include:iterate=PractitionerRole:organization&_include=Observation:performer"
    "&_include:iterate=Organization:partof",
    "Practitioner?_revinclude=PractitionerRole:practitioner&_revinclude=Patient:general-practitioner",
    "Encounter?_include=Encounter:location&_revinclude=Condition:encounter&_revinclude=Encounter:part-of",
    "MedicationRequest?_include=MedicationRequest:medication&_revinclude=MedicationRequest:medication",
    "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire",
    "Questionnaire?_revinclude=QuestionnaireResponse:questionnaire",
    "Location?_revinclude=Location:partof&_revinclude=Encounter:location",
)

HISTORIES = (
    "_history",
    "_history?_count=3",
    "Patient/_history",
    "Observation/_history",
    "Observation/_history?_since=2020-01-01",
    "Observation/_history?_count=1",
    "Practitioner/_history",
    "Consent/_history",
    "Device/_history",
    "Binary/_history",
    "Bundle/_history",
    "Observation/_history?_at=2026",
    "Observation/pulse/_history?_count=1",
)

OPERATIONS = (
    "Patient/p/$everything",
    "Patient/p/$everything?_count=3",
    "Patient/p/$everything?_type=Practitioner,Organization,Location,Medication,Binary,Questionnaire",
    "Patient/p/$everything?_since=2020-01-01",
    "Patient/q/$everything",
    "Patient/$everything",
    "Patient/$everything?_count=3",
    "Patient/$everything?_type=Practitioner,Organization,Location,Medication,Binary,Questionnaire,Patient",
    "Encounter/visit/$everything",
    "Encounter/other/$everything",
    "Observation/$lastn?patient=Patient/p&category=vital-signs&max=9",
    "Observation/$lastn?patient=Patient/q&category=vital-signs",
    "Observation/$lastn?subject:Patient.family=zuse&code=8867-4",
    "Observation/$stats?subject=Patient/p&code=8867-4&statistic=maximum,count,average&include=true",
    "Observation/$stats?subject=Patient/q&code=8867-4&statistic=maximum,count&include=true",
    "Observation/$series?patient=p&code=8867-4",
    "Observation/$series?patient=q&code=8867-4",
    "Observation/$series?subject=Patient/q&code=8867-4&method=mean",
    "$stats",
    "$stats?_type=Observation",
    "Observation/$explain?patient=q",
    "Observation?patient=q&_explain=true",
    "_jobs",
    "_jobs/x",
    "CodeSystem/other/$validate-code?code=x",
    "CodeSystem/$lookup?system=http://hl7.org/fhir/observation-status&code=final",
    "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/observation-status",
    "ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/observation-status&code=final&inferSystem=true",
)


def bundle(kind: str, *entries: tuple[str, str] | tuple[str, str, Any]) -> Path:
    asked = []
    for method, url, *body in entries:
        asked.append({"request": {"method": method, "url": url}} | ({"resource": body[0]} if body else {}))
    return Path(kind, "", "POST", {"resourceType": "Bundle", "type": kind, "entry": asked})


READING = (
    *(path for name in NAMES for path in reads(name)),
    *(Path("search", url) for url in SEARCHES),
    *(Path("history", url) for url in HISTORIES),
    *(Path("operation", url) for url in OPERATIONS),
    Path("read", "Observation/other", headers=(("If-None-Match", "*"),)),
    *(
        Path("read", url, headers=(("X-Break-Glass", "to see what is not mine to see"),))
        for url in ("Patient/p", "Patient/q", "Patient/nobody", "Observation/other", "Observation?patient=q")
    ),
    Path("read", "Observation/other", headers=(("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),)),
    Path("search", "Observation/_search?value-quantity=gt100", "POST"),
    Path("search", "_search?_type=Patient,Observation", "POST"),
    Path("search", "Patient/q/Observation/_search", "POST"),
    Path("operation", "Patient/q/$everything", "POST", parameters(_count="3")),
    Path("operation", "Patient/$everything", "POST", parameters(_since="2020")),
    Path("operation", "$reindex", "POST"),
    Path("operation", "Observation/$reindex", "POST"),
    Path("operation", "Observation/other/$reindex", "POST"),
    Path("operation", "Observation/pulse/$reindex", "POST"),
    bundle("batch", ("GET", "Patient/q"), ("GET", "Observation?value-quantity=gt100"), ("GET", "Patient/p")),
    bundle("batch", ("HEAD", "Observation/other"), ("GET", "Patient/q/$everything"), ("GET", "_history?_count=2")),
    bundle("transaction", ("GET", "Observation?value-quantity=gt100"), ("GET", "Patient?_has:Group:member:_id=others")),
    bundle("transaction", ("GET", "Patient/p/$everything"), ("GET", "Practitioner?_sort=_id")),
)

MOVED = pulse("pulse", "q", 62)
CLAIMED = pulse("other", "p", 1)
RENAMED = [{"op": "replace", "path": "/status", "value": "amended"}]
CONSENT = {key: value for key, value in consent("x", "p", deny(class_="Flag")).items() if key != "id"}
WITH_NONE = {key: value for key, value in pulse("x", "p", 63).items() if key != "id"}

WRITING = (
    Path("create", "Observation", "POST", WITH_NONE),
    Path("create", "Observation", "POST", pulse("x", "q", 1)),
    Path("create", "Observation", "POST", pulse("x", "p", 1, performer=[to("Patient/q")])),
    Path("create", "Observation", "POST", {key: value for key, value in WITH_NONE.items() if key != "subject"}),
    Path("create", "DocumentReference", "POST", document("x", "p", "other", "Mine now")),
    Path("create", "DocumentReference", "POST", document("x", "p", "nobody", "Mine now")),
    Path("create", "DocumentReference", "POST", document("x", "p", "own", "Mine")),
    Path("create", "Observation", "POST", pulse("x", "p", 63, performer=[to("Practitioner/other")])),
    Path("create", "Observation", "POST", pulse("x", "p", 63, performer=[to("Practitioner/doctor")])),
    Path("create", "Observation", "POST", pulse("x", "p", 63, device=to("Device/other"))),
    Path("create", "Observation", "POST", pulse("x", "p", 63, device=to("Device/implant"))),
    Path("create", "Binary", "POST", resource("Binary/x", contentType="text/plain", securityContext=to("Patient/p"))),
    Path("create", "Binary", "POST", resource("Binary/x", contentType="text/plain", securityContext=to("Patient/q"))),
    Path("create", "Binary", "POST", resource("Binary/x", contentType="text/plain")),
    Path("create", "Patient", "POST", resource("Patient/r", name=[{"family": "New"}])),
    Path("create", "Organization", "POST", resource("Organization/r", name="New")),
    Path("create", "AuditEvent", "POST", resource("AuditEvent/r")),
    *(Path("create", "Consent", "POST", CONSENT | {"patient": to(f"Patient/{each}")}) for each in "pq"),
    Path("create", "Consent", "POST", CONSENT | {"patient": to("Patient/p"), "performer": [to("Practitioner/other")]}),
    Path("update", "Consent/foreign", "PUT", CONSENT | {"id": "foreign", "patient": to("Patient/p")}),
    Path("delete", "Consent/foreign", "DELETE"),
    Path("create", "SearchParameter", "POST", resource("SearchParameter/r")),
    Path("create", "Observation", "POST", WITH_NONE, (("If-None-Exist", "value-quantity=gt150"),)),
    Path("create", "Observation", "POST", WITH_NONE, (("If-None-Exist", "patient.family=zuse"),)),
    Path("update", "Observation/other", "PUT", CLAIMED),
    Path("update", "Observation/nobody", "PUT", CLAIMED | {"id": "nobody"}),
    Path("update", "Observation/other", "PUT", CLAIMED, (("If-Match", 'W/"1"'),)),
    Path("update", "Observation/other", "PUT", CLAIMED, (("If-None-Match", "*"),)),
    Path("update", "Observation/other-gone", "PUT", CLAIMED | {"id": "other-gone"}),
    Path("update", "Observation/pulse", "PUT", MOVED),
    Path("update", "Observation/pulse", "PUT", pulse("pulse", "p", 64, performer=[to("Patient/q")])),
    Path("update", "Observation/pulse", "PUT", pulse("pulse", "p", 65)),
    Path("update", "Observation/old", "PUT", pulse("old", "p", 58)),
    Path("update", "Patient/p", "PUT", resource("Patient/p", link=[{"other": to("Patient/q"), "type": "refer"}])),
    Path("update", "Patient/q", "PUT", resource("Patient/q")),
    Path("update", "Practitioner/doctor", "PUT", resource("Practitioner/doctor", name=[{"family": "Changed"}])),
    Path("update", "Practitioner/other", "PUT", resource("Practitioner/other")),
    Path("update", "Observation?value-quantity=gt150", "PUT", WITH_NONE),
    Path("update", "Observation?value-quantity=gt150", "PUT", CLAIMED),
    Path("update", "Observation?_id=other", "PUT", CLAIMED),
    Path("patch", "Observation/other", "PATCH", RENAMED),
    Path("patch", "Observation/nobody", "PATCH", RENAMED),
    Path("patch", "Observation/pulse", "PATCH", RENAMED),
    Path(
        "patch", "Observation/pulse", "PATCH", [{"op": "replace", "path": "/subject/reference", "value": "Patient/q"}]
    ),
    Path("patch", "Observation?value-quantity=gt150", "PATCH", RENAMED),
    Path("delete", "Observation/other", "DELETE"),
    Path("delete", "Observation/nobody", "DELETE"),
    Path("delete", "Observation/other", "DELETE", None, (("If-Match", 'W/"2"'),)),
    Path("delete", "Observation/other-gone", "DELETE"),
    Path("delete", "Practitioner/doctor", "DELETE"),
    Path("delete", "Observation?value-quantity=gt150", "DELETE"),
    bundle(
        "batch",
        ("PUT", "Observation/other", CLAIMED),
        ("DELETE", "Condition/other"),
        ("POST", "Observation", WITH_NONE),
    ),
    bundle("transaction", ("PUT", "Observation/other", CLAIMED)),
    bundle("transaction", ("POST", "Observation", WITH_NONE), ("PUT", "Observation/pulse", MOVED)),
    bundle("transaction", ("DELETE", "Observation/other"), ("DELETE", "Observation?value-quantity=gt150")),
    bundle("transaction", ("POST", "Observation", WITH_NONE | {"subject": to("Patient?family=zuse")})),
    bundle("transaction", ("POST", "Observation", WITH_NONE | {"encounter": to("Encounter?part-of=Encounter/visit")})),
    bundle("transaction", ("PUT", "Observation?value-quantity=gt150", WITH_NONE)),
    bundle(
        "transaction",
        ("DELETE", "Condition/cold"),
        ("GET", "Condition"),
        ("POST", "Condition", resource("Condition/x", subject=to("Patient/p"))),
    ),
)
