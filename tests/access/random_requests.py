"""Random requests that read: searches with all parameters and how they are answered, reads, histories, operations."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from paths import NAMES, Path, bundle, parameters
from record import FORM, OTHERS, OWN, SECRET, SHARED

from fhirserver.search.compartments import compartments, types_in
from fhirserver.search.parameters import Parameter, r4_registry

REGISTRY = r4_registry()
ALL = (*SHARED, *OWN, *OTHERS)
TYPES = sorted({each["resourceType"] for each in ALL} | {"AuditEvent", "CareTeam"})
IDS = sorted({each["id"] for each in ALL} | {"nobody", "r", "of-r", "team", "me"})
REFERENCES = sorted(
    {f"{each['resourceType']}/{each['id']}" for each in ALL} | {"Patient/r", "Observation/of-r", "Practitioner/me"}
)
VALUES = {
    "string": (SECRET, "zu", "lovelace", "l", "babbage", "clinic", "ward", "trust", "e"),
    "token": ("8867-4", "vital-signs", "laboratory", "final", "active", "AMB", "82272006", "http://loinc.org|", "x"),
    "date": ("2026", "gt2020", "lt2026-01-10", "ge2026-01-02", "ne2026-01-01", "ap2026"),
    "number": ("1", "gt0", "lt5"),
    "quantity": ("gt100", "lt100", "60", "200|http://unitsofmeasure.org|/min", "ne60", "ge59"),
    "uri": (FORM, f"{FORM}-other", "Binary/other", "Binary/letter", "urn:x"),
    "special": ("42|-83",),
    "composite": ("8867-4$gt100", "8867-4$60"),
}
MODIFIERS = {
    "string": ("", "", ":exact", ":contains", ":missing"),
    "token": ("", "", ":not", ":text", ":missing"),
    "reference": ("", "", ":missing", ":above", ":below", ":identifier"),
    "uri": ("", ":above", ":below", ":missing"),
}
TIMES = ("?_at=2026", "?_count=2&_at=2026", "?_at=2027", "?_count=2&_at=2027")
TEXTS = (SECRET, "pulse", "aspirin", "clinic lovelace", "zu*")
FILTERS = (
    "family eq zuse",
    "not (family eq lovelace)",
    "family co l and birthdate pr false",
    "code eq 8867-4 and value-quantity gt 100",
    "subject:Patient.name co zu or status eq final",
)
VALUE_SETS = ("observation-status", "observation-vitalsignresult", "encounter-status", "nothing")


class Asking:
    """Requests, one like no other, from a seed; `made` are references to what earlier ones made."""

    def __init__(self, seed: int, made: list[str] | None = None) -> None:
        self.random = Random(seed)
        self.made = made or []

    def pick(self, some: Any) -> Any:
        return self.random.choice([*some])

    def kinds(self) -> dict[Callable[[], Path], int]:
        """Each kind of request, by how often it comes."""
        return {
            lambda: Path("search", self.search()): 10,
            self.searched_by_form: 1,
            lambda: Path("search", self.several()): 2,
            lambda: Path("search", self.compartment()): 2,
            self.read: 3,
            lambda: Path("history", self.history()): 2,
            lambda: Path("operation", self.operation()): 2,
            self.terms: 1,
            self.batch: 1,
        }

    def request(self) -> Path:
        kinds = self.kinds()
        (kind,) = self.random.choices([*kinds], [*kinds.values()])
        return kind()

    def search(self) -> str:
        type_ = self.pick(TYPES)
        return f"{type_}?{self.query(type_)}"

    def searched_by_form(self) -> Path:
        type_ = self.pick(TYPES)
        return Path("search", f"{type_}/_search?{self.query(type_)}", "POST")

    def several(self) -> str:
        types = ",".join(self.random.sample(TYPES, self.random.randint(1, 3)))
        value = self.pick(("_id=" + self.pick(IDS), "_lastUpdated=gt2000", "_content=" + quote(self.pick(TEXTS)), ""))
        return "?" + "&".join(filter(None, (f"_type={types}", value, *self.shape(self.pick(TYPES)))))

    def compartment(self) -> str:
        name = self.pick(compartments())
        id_ = self.pick([each.partition("/")[2] for each in REFERENCES if each.startswith(f"{name}/")] or IDS)
        member = self.pick(("*", *types_in(name)))
        return f"{name}/{id_}/{member}?{'' if member == '*' else self.query(member)}"

    def query(self, type_: str) -> str:
        return "&".join([*(self.criterion(type_) for _ in range(self.random.randint(0, 3))), *self.shape(type_)])

    def shape(self, type_: str) -> list[str]:
        """How it is answered."""
        found = []
        codes = [code for code, each in REGISTRY[type_].items() if each.type not in ("composite", "special")]
        references = [code for code, each in REGISTRY[type_].items() if each.type == "reference"]
        if self.random.random() < 0.3:
            found.append(f"_sort={self.pick(('', '-'))}{self.pick((*codes, '_lastUpdated'))}")
        if self.random.random() < 0.3:
            found.append(f"_count={self.pick((0, 1, 2, 50))}")
        if self.random.random() < 0.3:
            found.append(
                self.pick(
                    (
                        *("_total=accurate", "_total=estimate", "_total=none", "_summary=count", "_elements=id"),
                        *("_maxresults=2", "_contained=both", "_summary=true", "_total=accurate&_count=1"),
                    )
                )
            )
        if references and self.random.random() < 0.3:
            found.append(f"_include{self.pick(('', ':iterate'))}={type_}:{self.pick((*references, '*'))}")
        if self.random.random() < 0.3:
            source = self.pick(TYPES)
            back = [code for code, each in REGISTRY[source].items() if each.type == "reference"]
            found += [f"_revinclude{self.pick(('', ':iterate'))}={source}:{self.pick(back)}"] if back else []
        return found

    def criterion(self, type_: str, depth: int = 0) -> str:
        kind = self.random.random()
        references = [code for code, each in REGISTRY[type_].items() if each.type == "reference"]
        if depth < 2 and kind < 0.2 and references:
            code = self.pick(references)
            targets = [each for each in REGISTRY.reference_targets(type_, code) if each in TYPES]
            if targets:
                target = self.pick(targets)
                name, _, value = self.criterion(target, depth + 1).partition("=")
                return f"{code}:{target}.{name}={value}"
        if depth < 2 and kind < 0.35:
            source = self.pick(TYPES)
            back = [code for code in REGISTRY[source] if self.leads(source, code, type_)]
            if back:
                name, _, value = self.criterion(source, depth + 1).partition("=")
                return f"_has:{source}:{self.pick(back)}:{name}={value}"
        if depth == 0 and kind < 0.42:
            return self.pick(
                (
                    f"_list={self.pick(IDS)}",
                    f"_content={quote(self.pick(TEXTS))}",
                    f"_text={quote(self.pick(TEXTS))}",
                    f"_filter={quote(self.pick(FILTERS))}",
                    f"_lastUpdated={self.pick(('gt', 'lt'))}{self.pick(('2020', '2099', '2026-11'))}",
                )
            )
        code = self.pick(REGISTRY[type_])
        return self.clause(code, REGISTRY[type_][code])

    def leads(self, source: str, code: str, target: str) -> bool:
        parameter = REGISTRY[source][code]
        return parameter.type == "reference" and target in REGISTRY.reference_targets(source, code)

    def clause(self, code: str, parameter: Parameter) -> str:
        modifier = self.pick(MODIFIERS.get(parameter.type, ("", ":missing")))
        if modifier == ":missing":
            return f"{code}:missing={self.pick(('true', 'false'))}"
        if code == "_id":
            return f"_id={self.pick(IDS)},{self.pick(IDS)}"
        if parameter.type == "token" and self.random.random() < 0.1:
            url = f"http://hl7.org/fhir/ValueSet/{self.pick(VALUE_SETS)}"
            return f"{code}:{self.pick(('in', 'not-in'))}={quote(url, safe='/:')}"
        value = self.pick(self.references() if parameter.type == "reference" else VALUES[parameter.type])
        return f"{code}{modifier}={quote(value, safe='/:|$')}"

    def references(self) -> list[str]:
        return [*REFERENCES, *self.made]

    def name(self) -> str:
        found: str = self.pick((*NAMES, *REFERENCES, *self.made[-9:]))
        return found

    def read(self) -> Path:
        tail = self.pick(("", "", "/_history/1", "/_history/2", "?_summary=true", "?_elements=name", "?_format=xml"))
        headers = self.pick(
            (
                *((), (), ()),
                (("If-None-Match", "*"),),
                (("If-None-Match", 'W/"1"'),),
                (("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),),
                (("Accept", "*/*"),),
                (("Accept", "application/fhir+xml"),),
            )
        )
        return Path("read", self.name() + tail, self.pick(("GET", "GET", "HEAD")), None, headers)

    def history(self) -> str:
        place = self.pick(("", f"{self.pick(TYPES)}/", f"{self.name()}/"))
        count = self.pick(("", "?_count=1", "?_count=3", "?_since=2020", "?_count=0", *TIMES))
        return f"{place}_history{count}"

    def operation(self) -> str:
        patient, code = self.pick(("p", "q", "r", "Patient/p", "Patient/q")), self.pick(VALUES["token"])
        found: str = self.pick(
            (
                f"Patient/{self.pick(('p', 'q', 'r', 'nobody'))}/$everything?_count={self.pick((1, 4, 200))}",
                f"Patient/p/$everything?_type={self.pick(TYPES)},{self.pick(TYPES)}",
                f"Patient/{self.pick('pq')}/$everything?start=2026-01-02&end=2026-02-01",
                f"Encounter/{self.pick(('visit', 'other'))}/$everything",
                f"Observation/$lastn?patient={patient}&category={self.pick(VALUES['token'])}",
                f"Observation/$lastn?{self.criterion('Observation')}&patient={patient}&code={code}",
                f"Observation/$stats?subject={patient}&code={code}&statistic=maximum,count&include=true",
                f"Observation/$series?patient={patient}&code={code}&method={self.pick(('lttb', 'minmax', 'mean'))}",
                self.pick(("$stats", "_jobs", "_jobs/x", "Observation/$explain?patient=q", "Patient?_explain=true")),
            )
        )
        return found

    def terms(self) -> Path:
        """What rests on definitions."""
        name, value_set = self.pick(("final", "entered-in-error", "x")), self.pick(VALUE_SETS)
        system = "http://hl7.org/fhir/observation-status"
        set_ = f"http://hl7.org/fhir/ValueSet/{value_set}"
        url = self.pick(
            (
                f"CodeSystem/$lookup?system={system}&code={name}",
                f"CodeSystem/$validate-code?url={system}&code={name}",
                f"CodeSystem/$subsumes?system={system}&codeA=final&codeB={name}",
                f"CodeSystem/{self.pick(('other', 'nobody'))}/$validate-code?code={name}",
                f"ValueSet/$expand?url={set_}&count={self.pick((1, 5))}",
                f"ValueSet/$validate-code?url={set_}&code={name}&inferSystem=true",
                f"ValueSet/{self.pick(('other', 'nobody'))}/$expand",
                f"ConceptMap/$translate?url=http://hl7.org/fhir/ConceptMap/x&code={name}&system={system}",
            )
        )
        if self.random.random() < 0.3:
            return Path("operation", "$closure", "POST", parameters(name=self.pick(("mine", "other"))))
        return Path("operation", url)

    def batch(self) -> Path:
        kind = self.pick(("batch", "transaction"))
        ways: list[Callable[[], str]] = [self.search, lambda: self.read().url]
        if kind == "batch":  # what goes through many types takes its time in a transaction, one after the other
            ways += [self.history, self.operation]
        return bundle(kind, *(("GET", self.pick(ways)()) for _ in range(3)))
