"""Random requests of an app of one patient, in three worlds: the patient alone, among others, and among others as they
are at another time. Status, body and totals are the same in all three, so nothing of others can be learned.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from paths import NAMES, Path, bundle
from record import FORM, OTHERS, OWN, SECRET, SHARED, fill
from test_paths import SCOPES, answer

from fhirserver.search.compartments import compartments, types_in
from fhirserver.search.parameters import Parameter, r4_registry

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

REGISTRY = r4_registry()
TYPES = sorted({each["resourceType"] for each in (*SHARED, *OWN, *OTHERS)})
IDS = sorted({each["id"] for each in (*SHARED, *OWN, *OTHERS)} | {"nobody"})
REFERENCES = sorted({f"{each['resourceType']}/{each['id']}" for each in (*SHARED, *OWN, *OTHERS)})
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
    "reference": ("", "", ":missing", ":above", ":below"),
    "uri": ("", ":above", ":below", ":missing"),
}
TEXTS = (SECRET, "pulse", "aspirin", "clinic lovelace", "zu*")


class Asking:
    """Requests, one like no other, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def pick(self, some: Any) -> Any:
        return self.random.choice([*some])

    def request(self) -> Path:
        kinds: dict[str, Callable[[], Path]] = {
            "search": lambda: Path("search", self.search()),
            "several": lambda: Path("search", self.several()),
            "compartment": lambda: Path("search", self.compartment()),
            "read": self.read,
            "history": lambda: Path("history", self.history()),
            "operation": lambda: Path("operation", self.operation()),
            "batch": self.batch,
        }
        weights = {"search": 10, "several": 2, "compartment": 2, "read": 3, "history": 2, "operation": 2, "batch": 1}
        (kind,) = self.random.choices([*kinds], [weights[kind] for kind in kinds])
        return kinds[kind]()

    def search(self) -> str:
        type_ = self.pick(TYPES)
        return f"{type_}?{self.query(type_)}"

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
            found.append(f"_sort={self.pick(('', '-'))}{self.pick(codes)}")
        if self.random.random() < 0.3:
            found.append(f"_count={self.pick((0, 1, 2, 50))}")
        if self.random.random() < 0.3:
            found.append(
                self.pick(("_total=accurate", "_total=estimate", "_total=none", "_summary=count", "_elements=id"))
            )
        if references and self.random.random() < 0.3:
            found.append(f"_include{self.pick(('', ':iterate'))}={type_}:{self.pick((*references, '*'))}")
        if self.random.random() < 0.3:
            source = self.pick(TYPES)
            back = [code for code, each in REGISTRY[source].items() if each.type == "reference"]
            found += [f"_revinclude={source}:{self.pick(back)}"] if back else []
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
        if depth == 0 and kind < 0.4:
            return self.pick((f"_list={self.pick(IDS)}", f"_content={quote(self.pick(TEXTS))}"))
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
        value = self.pick(REFERENCES if parameter.type == "reference" else VALUES[parameter.type])
        return f"{code}{modifier}={quote(value, safe='/:|$')}"

    def read(self) -> Path:
        name = self.pick((*NAMES, *REFERENCES))
        tail = self.pick(("", "", "/_history/1", "/_history/2", "?_summary=true", "?_elements=name"))
        headers = self.pick(((), (), (("If-None-Match", "*"),), (("Accept", "*/*"),)))
        return Path("read", name + tail, self.pick(("GET", "GET", "HEAD")), None, headers)

    def history(self) -> str:
        place = self.pick(("", f"{self.pick(TYPES)}/", f"{self.pick(REFERENCES)}/"))
        count = self.pick(("", "?_count=1", "?_count=3", "?_since=2020", "?_count=0"))
        return f"{place}_history{count}"

    def operation(self) -> str:
        patient, code = self.pick(("p", "q", "Patient/p", "Patient/q")), self.pick(VALUES["token"])
        return str(
            self.pick(
                (
                    f"Patient/{self.pick(('p', 'q', 'nobody'))}/$everything?_count={self.pick((1, 4, 200))}",
                    f"Patient/p/$everything?_type={self.pick(TYPES)},{self.pick(TYPES)}",
                    f"Encounter/{self.pick(('visit', 'other'))}/$everything",
                    f"Observation/$lastn?patient={patient}&category={self.pick(VALUES['token'])}",
                    f"Observation/$lastn?{self.criterion('Observation')}&patient={patient}&code={code}",
                    f"Observation/$stats?subject={patient}&code={code}&statistic=maximum,count&include=true",
                    f"Observation/$series?patient={patient}&code={code}&method={self.pick(('lttb', 'minmax', 'mean'))}",
                )
            )
        )

    def batch(self) -> Path:
        kind = self.pick(("batch", "transaction"))
        ways = [self.search, lambda: self.read().url]
        if kind == "batch":  # what goes through many types takes its time in a transaction, one after the other
            ways += [self.history, self.operation]
        return bundle(kind, *(("GET", self.pick(ways)()) for _ in range(3)))


@pytest.fixture(
    params=[
        pytest.param(150, id="short"),
        pytest.param(int(os.environ.get("HEALTHMATE_FUZZ_EXAMPLES", "10000")), id="long", marks=pytest.mark.fuzz),
    ]
)
def examples(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def three(serve: Serve, apps: Apps) -> list[Fhir]:
    found = []
    for world in ({"others": False}, {"others": True}, {"others": True, "mutated": True}):
        served = serve(secret="that of all")
        fill(served.client, **world)
        found.append(apps(served, SCOPES, "p"))
    return found


@pytest.mark.timeout(3_600)
def test_nothing_of_others_can_be_learned(three: list[Fhir], examples: int) -> None:
    told = 0
    for seed in range(examples):
        path = Asking(seed).request()
        alone, *among = (answer(fhir, path) for fhir in three)
        for each in among:
            assert each == alone, f"seed {seed}: {path}"
        assert alone[0] != 500, f"seed {seed}: {path}"
        told += alone[0] == 200 and ("fullUrl" in alone[1] or "valueQuantity" in alone[1])
    assert told > examples // 10  # else it would say little
