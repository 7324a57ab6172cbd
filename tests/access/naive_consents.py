"""What Consents and labels leave to somebody, said again as plain predicates over plain resources.

Slow, and of few types: what the server answers is compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from consent_rules import ACTION, CLIENT, CONFIDENTIALITY, REASON, TYPES, URI

Json = dict[str, Any]
LEVELS = "ULMNRV"
PARENTS = {
    "BTG": "ETREAT",
    "ETREAT": "TREAT",
    "TREAT": "",
    "HRESCH": "",
    "CLINTRCH": "HRESCH",
    "PATRQT": "",
    "FAMRQT": "PATRQT",
    "HOPERAT": "",
    "HSYSADMIN": "HOPERAT",
    "HPAYMT": "",
}
LETTERS = {"access": "r", "use": "r", "disclose": "r", "collect": "c", "correct": "u"}
DATES = {"Observation": "effectiveDateTime", "Condition": "onsetDateTime", "MedicationRequest": "authoredOn"}
AUTHORS = {"Observation": ["performer"], "Condition": ["asserter", "recorder"], "MedicationRequest": ["requester"]}


class Who(NamedTuple):
    """`own` and `proxies` are ids of patients, as are those whom it `cares` for and the `emergencies`."""

    names: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    own: str = ""
    proxies: frozenset[str] = frozenset()
    cares: frozenset[str] = frozenset()
    admin: bool = False
    emergencies: frozenset[str] = frozenset()


def sees(consents: Sequence[Json], resource: Json, patient: str, who: Who, now: str, *, labels: bool = True) -> bool:
    """Whether somebody may read a resource in the record of a patient, with the consents about that."""
    if who.own == patient:
        return True
    purposes = who.purposes | ({"PATRQT"} if patient in who.proxies else set())
    if patient in who.emergencies:
        purposes = frozenset({"BTG"})
    asked = _Asked(resource, who.names, frozenset(purposes), patient in who.emergencies, now)
    trees = [_root(each) for each in consents if each["status"] == "active"]
    if resource["resourceType"] != "Consent" and any(asked.hides(tree, False) for tree in trees):
        return False
    level = _level(resource)
    if not labels or level < LEVELS.index("R") or patient in who.emergencies:
        return True
    if level == LEVELS.index("R") and (who.admin or patient in who.cares):
        return True
    return any(asked.unlocks(tree, False, -1) for tree in trees)


def _root(consent: Json) -> Json:
    """The provision at the top as an exception to the policy; one that names nothing but a period is the policy."""
    codes = [each["code"] for each in consent.get("policyRule", {}).get("coding", ())]
    out = any(code.upper().startswith(("OPTOUT", "EMRGONLY")) for code in codes)
    provision = consent.get("provision", {})
    names = provision.keys() - {"type", "period", "provision"}
    other = "permit" if out else "deny"
    root = {"type": other if names else "deny" if out else "permit"} | provision
    if not out or (root["type"] == "deny" and not names):
        return root
    lasting = {} if names or "period" not in provision else {"period": provision["period"]}
    return {"type": "deny", "provision": [root]} | lasting


def _level(resource: Json) -> int:
    held = [LEVELS.index(each["code"]) for each in resource.get("meta", {}).get("security", ()) if _is_level(each)]
    return max(held, default=LEVELS.index("N"))


def _is_level(label: Json) -> bool:
    return bool(label.get("system") == CONFIDENTIALITY)


def _codings(node: Any) -> Iterator[tuple[str | None, str]]:
    if isinstance(node, list):
        for each in node:
            yield from _codings(each)
    elif isinstance(node, dict):
        if "code" in node and isinstance(node["code"], str) and "value" not in node:
            yield node.get("system"), node["code"]
        for name, each in node.items():
            if name not in ("meta", "identifier"):
                yield from _codings(each)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    elif isinstance(node, dict):
        for name, each in node.items():
            if name == "reference" and isinstance(each, str):
                yield each
            else:
                yield from _references(each)


class _Asked(NamedTuple):
    resource: Json
    names: frozenset[str]
    purposes: frozenset[str]
    emergency: bool
    now: str

    def hides(self, rule: Json, purposeful: bool) -> bool:
        purposeful = purposeful or "purpose" in rule
        if not self.met(rule, hiding=True):
            return False
        parts = rule.get("provision", ())
        if any(self.hides(part, purposeful) for part in parts):
            return True
        lifted = self.emergency and not purposeful
        denies = rule["type"] == "deny" and not lifted
        return denies and not any(self.permits(part, purposeful) for part in parts)

    def permits(self, rule: Json, purposeful: bool) -> bool:
        purposeful = purposeful or "purpose" in rule
        parts = rule.get("provision", ())
        if not self.met(rule, hiding=False) or any(self.hides(part, purposeful) for part in parts):
            return False
        return rule["type"] == "permit" or any(self.permits(part, purposeful) for part in parts)

    def unlocks(self, rule: Json, purposeful: bool, cleared: int) -> bool:
        """`cleared` is the highest confidentiality that it, or what is around it, names."""
        purposeful = purposeful or "purpose" in rule
        named = [LEVELS.index(each["code"]) for each in rule.get("securityLabel", ()) if _is_level(each)]
        cleared = max(named, default=cleared)
        parts = rule.get("provision", ())
        if not self.met(rule, hiding=False) or any(self.hides(part, purposeful) for part in parts):
            return False
        return (rule["type"] == "permit" and _level(self.resource) <= cleared) or any(
            self.unlocks(part, purposeful, cleared) for part in parts
        )

    def met(self, rule: Json, *, hiding: bool) -> bool:
        """What cannot be told (None) is met where a rule hides."""
        period = rule.get("period", {})
        if not (period.get("start", "0") <= self.now <= period.get("end", "9")):
            return False
        for name, test in (
            ("actor", self._actor),
            ("purpose", self._purpose(hiding)),
            ("action", self._action),
            ("class", self._class),
            ("code", self._code),
            ("securityLabel", lambda each: self._label(each, rule["type"] == "deny")),
            ("data", self._data),
        ):
            if name in rule and not any(hiding if (held := test(each)) is None else held for each in rule[name]):
                return False
        return "dataPeriod" not in rule or self._dated(rule["dataPeriod"], rule["type"] == "deny")

    def _actor(self, actor: Json) -> bool | None:
        reference = actor["reference"]
        if "reference" in reference:
            return reference["reference"] in self.names
        identifier = reference.get("identifier", {})
        return identifier["value"] in self.names if identifier.get("system") == CLIENT else None

    def _purpose(self, hiding: bool) -> Any:
        def test(coding: Json) -> bool | None:
            if coding.get("system") != REASON or coding["code"] not in PARENTS:
                return None
            if not self.purposes:
                return hiding
            held = [coding["code"] in _above(each) for each in self.purposes]
            return any(held) if hiding else all(held)

        return test

    def _action(self, concept: Json) -> bool | None:
        found = [LETTERS.get(each["code"]) for each in concept.get("coding", ()) if each.get("system") == ACTION]
        return "r" in found if any(found) else None

    def _class(self, coding: Json) -> bool | None:
        if coding["system"] == TYPES:
            return bool(coding["code"] == self.resource["resourceType"])
        if coding["system"] == URI:
            return coding["code"] in self.resource.get("meta", {}).get("profile", ())
        return None

    def _code(self, concept: Json) -> bool | None:
        asked = {(each.get("system"), each["code"]) for each in concept.get("coding", ())}
        return not asked.isdisjoint(_codings(self.resource)) if asked else None

    def _label(self, coding: Json, denies: bool) -> bool | None:
        if coding["system"] == CONFIDENTIALITY:
            asked, level = LEVELS.index(coding["code"]), _level(self.resource)
            return level >= asked if denies else level <= asked
        return coding in self.resource.get("meta", {}).get("security", ())

    def _data(self, data: Json) -> bool:
        meaning, name = data["meaning"], data["reference"]["reference"]
        own = f"{self.resource['resourceType']}/{self.resource['id']}"
        match meaning:
            case "dependents":
                return own == name or name in _references(self.resource)
            case "authoredby":
                places = AUTHORS.get(self.resource["resourceType"], ())
                return any(name in _references(self.resource.get(place)) for place in places)
        return bool(own == name)

    def _dated(self, period: Json, denies: bool) -> bool:
        """By days; what has no date was written just now."""
        found = self.resource.get(DATES.get(self.resource["resourceType"], ""), self.now)
        return bool(period.get("start", "0") <= found[:10] <= period.get("end", "9"))


def _above(code: str) -> set[str]:
    found = set()
    while code:
        found.add(code)
        code = PARENTS[code]
    return found
