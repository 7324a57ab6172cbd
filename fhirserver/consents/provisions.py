"""What a Consent says, taken apart: a tree of rules, in which the nested ones are exceptions to what is around them.

What is named and cannot be told apart here (a code without a system's word for it, somebody by name only) is kept as
not `clear`: it counts as met where a rule hides, and as not met where one permits.
https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.consents.labels import LEVELS, WITHHELD
from fhirserver.consents.labels import SYSTEM as CONFIDENTIALITY
from fhirserver.consents.purposes import SYSTEM as REASONS
from fhirserver.consents.purposes import is_purpose
from fhirserver.fhir import dates, json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.ids import URIS
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.references import parse as parse_reference

Json = Mapping[str, Any]

SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
TYPES = "http://hl7.org/fhir/resource-types"
CLIENT = "urn:healthmate:client"  # the system of an app's or a service's client_id
PRIVACY = "patient-privacy"
PROVISION = "provision"
DENYING, PERMITTING = ("OPTOUT", "EMRGONLY"), ("OPTIN", "IMPLIED", "NOCONSENT")  # how codes of policies begin
LIMITING = frozenset({"action", "actor", "class", "code", "data", "dataPeriod", "purpose", "securityLabel"})
MODIFIER, MODIFIED = "modifierExtension", "what it changes is not known here"
OTHER_SCOPES = ("adr", "research", "treatment")
ALLOWS = {"access": "rs", "use": "rs", "disclose": "rs", "collect": "c", "correct": "ud"}  # of cruds
MEANINGS = ("instance", "related", "dependents", "authoredby")
MOST_DEEP = 16  # provisions in one another: MongoDB takes filters of a hundred levels
MOST_PROVISIONS, MOST_BYTES = 50, 20_000  # of one Consent, of which every search asks all


class Some(NamedTuple):
    """What is named of a kind, any of which may be met; `clear`: all that is named can be told here."""

    known: tuple[Any, ...]
    clear: bool = True


class Period(NamedTuple):
    """From `low` on and before `high`; None is open."""

    low: datetime | None
    high: datetime | None

    def contains(self, time: datetime) -> bool:
        return (self.low is None or self.low <= time) and (self.high is None or time < self.high)


class Rule(NamedTuple):
    """One provision. What is None was not named, and is met by everything.

    `actors` are references, and `urn:healthmate:client|app`; `actions` permissions of cruds; `classes` pairs of "type"
    or "profile" and which; `codes` and `labels` pairs of system and code; `data` pairs of meaning and reference.
    """

    denies: bool
    actors: Some | None = None
    purposes: Some | None = None
    actions: Some | None = None
    period: Period | None = None
    classes: Some | None = None
    codes: Some | None = None
    labels: Some | None = None
    dates: Period | None = None
    data: Some | None = None
    parts: tuple[Rule, ...] = ()
    clear: bool = True

    def walk(self) -> Iterator[Rule]:
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def level(self) -> str | None:
        """The highest confidentiality that it names itself."""
        named = {code for system, code in self.labels.known if system == CONFIDENTIALITY} if self.labels else set()
        return max(named & {*LEVELS}, key=LEVELS.index, default=None)

    @property
    def unlocks(self) -> str | None:
        """The highest confidentiality of what it may permit by that label, where that is withheld otherwise."""
        named = {each.level for each in self.walk()}.intersection(WITHHELD)
        permits = any(not each.denies for each in self.walk())
        return max(named, key=LEVELS.index, default=None) if permits else None

    @property
    def names(self) -> set[str]:
        """The actors."""
        return {name for each in self.walk() if each.actors is not None for name in each.actors.known}

    @property
    def related(self) -> set[str]:
        """The resources that it is about together with what these refer to."""
        found = (each.data.known for each in self.walk() if each.data is not None)
        return {name for data in found for meaning, name in data if meaning == "related"}

    @property
    def times(self) -> set[datetime]:
        """When what it means may change by itself."""
        periods = (each.period for each in self.walk() if each.period is not None)
        return {time for period in periods for time in period if time is not None}


class Reading(NamedTuple):
    """Of a Consent: whose record it is about, what it says, and what of that is not clear, by path; or why nothing."""

    record: str | None
    rule: Rule | None
    unclear: tuple[tuple[str, str], ...]
    idle: str | None = None


def read(consent: Json, base_url: str) -> Reading:
    """`record` is `Patient/1`; `rule` is None where the Consent says nothing that is kept here, and `idle` says why."""
    status = consent.get("status")
    if status != "active":
        return Reading(None, None, (), f"its status is {status}; an active one is kept to")
    record = local(consent.get("patient"), base_url)
    if record is None or not record.startswith("Patient/"):
        return Reading(None, None, (), "patient: it does not say, by a reference, of which patient here it is")
    reader, privacy = _Reader(base_url), _of_privacy(consent)
    denies = reader.policy(consent) and privacy  # who is opted out of research is not opted out of treatment
    provision = consent.get("provision")
    if provision is not None and (large := too_large(provision)) is not None:
        return Reading(record, Rule(True), (("Consent.provision", f"{large}; all of the record is kept back"),))
    rule = Rule(denies) if provision is None else reader.top(provision, denies)
    if MODIFIER in consent:
        reader.note(f"Consent.{MODIFIER}", MODIFIED)
        rule = rule._replace(clear=False)
    if not privacy and not any(_about_data(each) for each in rule.walk()):
        return Reading(record, None, (), "scope: it is not about privacy, and names no data and nothing done with data")
    return Reading(record, rule, tuple(reader.unclear))


def too_large(provision: Json) -> str | None:
    """Why no search could ask for all that a provision says."""
    layer, number = [provision], 0
    for _ in range(MOST_DEEP):
        number += len(layer)
        layer = [part for each in layer for part in each.get("provision", ())]
    if layer:
        return f"its provisions are nested more than {MOST_DEEP} deep"
    if number > MOST_PROVISIONS:
        return f"it has more than {MOST_PROVISIONS} provisions"
    large = len(json.encode(provision)) > MOST_BYTES
    return f"its provisions have more than {MOST_BYTES:,} bytes" if large else None


def local(reference: Any, base_url: str) -> str | None:
    """`Patient/1`, of a reference to what is here."""
    text = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(text, str):
        return None
    literal = parse_reference(text.removeprefix(f"{base_url}/"))
    return f"{literal.type}/{literal.id}" if literal is not None and literal.base is None else None


def _of_privacy(consent: Json) -> bool:
    """A scope that nobody knows may well be about privacy."""
    codes = {each.get("code") for each in consent.get("scope", {}).get("coding", ()) if each.get("system") == SCOPES}
    return PRIVACY in codes or not codes & {*OTHER_SCOPES}


def _about_data(rule: Rule) -> bool:
    """What is refused by its code alone is a treatment."""
    return any(each is not None for each in (rule.actions, rule.classes, rule.labels, rule.dates, rule.data))


class _Reader:
    """Reads provisions, and notes what is not clear."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.unclear: list[tuple[str, str]] = []

    def note(self, path: str, said: str) -> None:
        """What cannot be told."""
        self.unclear.append((path, f"{said}; where that denies, it holds for all; where it permits, for nothing"))

    def policy(self, consent: Json) -> bool:
        """Whether it denies what no provision is about, whosever word for that it has.

        https://terminology.hl7.org/ValueSet-v3-ActConsentDirective.html
        """
        codes = [each.get("code", "").upper() for each in consent.get("policyRule", {}).get("coding", ())]
        if any(code.startswith(DENYING) for code in codes):
            return True
        if not any(code.startswith(PERMITTING) for code in codes):
            said = f"no code in it says what it does ({', '.join((*DENYING, *PERMITTING))}), so it denies nothing"
            where = "policyRule" if "policyRule" in consent else "policy"
            self.unclear.append((f"Consent.{where}", f"{said} but what the provision denies"))
        return False

    def top(self, provision: Json, denies: bool) -> Rule:
        """The provision of a Consent: an exception to its policy, or what that holds for. `denies`: the policy does."""
        path, limited = f"Consent.{PROVISION}", not LIMITING.isdisjoint(provision)
        if "type" not in provision and limited:
            does = "permits" if denies else "denies"
            said = "it says neither permit nor deny, so it is an exception to the policy"
            self.unclear.append((f"{path}.type", f"{said}: it {does} what it names"))
        found = self.rule(provision, denies is not limited, path)
        if not denies or (found.denies and not limited):
            return found
        return Rule(True, period=None if limited else found.period, parts=(found,))

    def exception(self, provision: Json, denies: bool, path: str) -> Rule:
        """A provision in another one, that `denies` or permits."""
        if "type" not in provision:
            self.note(f"{path}.type", "it says neither permit nor deny, so it changes nothing")
        return self.rule(provision, denies, path)

    def rule(self, provision: Json, denies: bool, path: str) -> Rule:
        """`denies` is what it does where it does not say."""
        named = provision.get("type")
        denies = denies if named is None else named == "deny"
        if modified := MODIFIER in provision:
            self.note(f"{path}.{MODIFIER}", MODIFIED)
        parts = provision.get(PROVISION, ())
        return Rule(
            denies,
            self._some(provision, "actor", path, self._actor),
            self._some(provision, "purpose", path, _purpose),
            self._some(provision, "action", path, _action),
            self._period(provision.get("period"), f"{path}.period"),
            self._some(provision, "class", path, _class),
            self._some(provision, "code", path, _code),
            self._some(provision, "securityLabel", path, _label),
            self._period(provision.get("dataPeriod"), f"{path}.dataPeriod"),
            self._some(provision, "data", path, self._data),
            tuple(self.exception(each, denies, f"{path}.{PROVISION}[{at}]") for at, each in enumerate(parts)),
            not modified,
        )

    def _some(
        self, provision: Json, name: str, path: str, read_one: Callable[[Any], Sequence[Any] | str]
    ) -> Some | None:
        """`read_one` gives what is named, or why that cannot be told."""
        if name not in provision:
            return None
        known: dict[Any, None] = {}
        clear = True
        for at, each in enumerate(provision[name]):
            where = f"{path}.{name}[{at}]"
            if MODIFIER in each:
                clear = False
                self.note(f"{where}.{MODIFIER}", MODIFIED)
            elif isinstance(found := read_one(each), str):
                clear = False
                self.note(where, found)
            else:
                known.update(dict.fromkeys(found))
        return Some(tuple(known), clear)

    def _period(self, period: Json | None, path: str) -> Period | None:
        if period is None:
            return None
        try:
            low = dates.parse(period["start"]).low if "start" in period else None
            high = dates.parse(period["end"]).high if "end" in period else None
        except Outcome:
            self.note(path, "its dates cannot be read")
            return None
        return Period(low, high)

    def _actor(self, actor: Json) -> Sequence[str] | str:
        reference = actor.get("reference", {})
        if (found := local(reference, self.base_url)) is not None:
            return [found]
        if "reference" in reference:
            return []  # somebody elsewhere, who is nobody here
        identifier = reference.get("identifier", {})
        if identifier.get("system") == CLIENT and "value" in identifier:
            return [f"{CLIENT}|{identifier['value']}"]
        return f"who that is cannot be told: name a resource here, or an app by identifier {CLIENT} and its client_id"

    def _data(self, data: Json) -> Sequence[tuple[str, str]] | str:
        meaning, reference = data.get("meaning"), data.get("reference", {})
        if meaning not in MEANINGS:
            return f"{meaning!r} is not known here; {', '.join(MEANINGS)} are"
        found = local(reference, self.base_url)
        if found is not None:
            return [(meaning, found)]
        return [] if "reference" in reference else "it does not say, by a reference, which resource that is"


def _purpose(coding: Json) -> Sequence[str] | str:
    code = coding.get("code", "")
    if coding.get("system") != REASONS or not is_purpose(code):
        return f"{code!r} is no purpose of use of {REASONS}"
    return [code]


def _action(concept: Json) -> Sequence[str] | str:
    codes = [each.get("code", "") for each in concept.get("coding", ()) if each.get("system") == ACTIONS]
    found = [letter for code in codes for letter in ALLOWS.get(code, "")]
    return found or f"no code of {ACTIONS} that is known here: {', '.join(ALLOWS)}"


def _class(coding: Json) -> Sequence[tuple[str, str]] | str:
    system, code = coding.get("system"), coding.get("code", "")
    if system == TYPES and code in r4().resource_types:
        return [("type", code)]
    if system == URIS and code:
        return [("profile", code)]
    return f"{code!r} is neither a resource type ({TYPES}) nor the URL of a profile ({URIS})"


def _code(concept: Json) -> Sequence[tuple[str | None, str]] | str:
    found = [(each.get("system"), each["code"]) for each in concept.get("coding", ()) if "code" in each]
    return found or "it has no code, and a text finds nothing"


def _label(coding: Json) -> Sequence[tuple[str | None, str]] | str:
    system, code = coding.get("system"), coding.get("code")
    if code is None or (system == CONFIDENTIALITY and code not in LEVELS):
        return f"{code!r} is no security label that is known here"
    return [(system, code)]
