"""The data that a rule is about, as a criterion of a type: its class, codes, labels, dates, and single resources.

`generous` counts as met what cannot be told; for what permits it is the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from fhirserver.consents.labels import LEVELS, at_least, at_most, form, labelled
from fhirserver.consents.labels import SYSTEM as CONFIDENTIALITY
from fhirserver.consents.provisions import MEANINGS, Period, Rule, Some
from fhirserver.fhir.dates import EARLIEST
from fhirserver.search.care_dates import CARE_DATES
from fhirserver.search.criteria import Clause, Codes, Contained, Criterion, Dates, Reference, Token
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated
from fhirserver.search.parameters import Parameter, r4_registry

Related = Mapping[str, frozenset[str]]  # what a resource refers to, by its own reference

NO_CODES = frozenset({"_id", "_security", "_tag", "identifier"})  # parameters of type token that hold no codes
CONTAINED = ("Condition", "Device", "Medication", "Observation", "Procedure", "Specimen", "Substance")
INSIDE = frozenset({"code", "ingredient-code", "type"})  # of what is contained, what it is
AUTHORS = frozenset({"asserter", "author", "enterer", "performer", "recorder", "requester", "sender", "source"})


@lru_cache(maxsize=10_000)
def about(rule: Rule, type_: str, generous: bool) -> Criterion:
    """The resources of a type that a rule by itself is about, but for single ones that it names (see `named`)."""
    return conjoined(
        _any(rule.classes, generous, lambda classes: _classes(classes, type_)),
        _any(rule.codes, generous, lambda codes: _coded(codes, type_)),
        _any(rule.labels, generous, lambda labels: _labelled(rule, labels, type_)),
        EVERYTHING if rule.dates is None else _dated(rule.dates, type_, touching=rule.denies),
    )


def named(rule: Rule, type_: str, generous: bool, related: Related) -> Criterion:
    """Those that it names one by one."""
    return _any(rule.data, generous, lambda data: _data(data, type_, related))


def _any(some: Some | None, generous: bool, of: Callable[[tuple[tuple[str, str], ...]], Criterion]) -> Criterion:
    return EVERYTHING if some is None or (generous and not some.clear) else of(some.known)


def _classes(classes: tuple[tuple[str, str], ...], type_: str) -> Criterion:
    """A profile in any of its versions where none is named."""
    if ("type", type_) in classes:
        return EVERYTHING
    profiles = tuple(which for kind, which in classes if kind == "profile")
    return Clause(r4_registry()[type_]["_profile"], None, profiles) if profiles else NOTHING


def _coded(codes: tuple[tuple[str | None, str], ...], type_: str) -> Criterion:
    """Any code of a resource, and of what it contains."""
    forms = Codes(tuple(dict.fromkeys(each for system, code in codes for each in _forms(system, code))))
    inside = [Contained(each, either(_clauses(each, forms, INSIDE))) for each in CONTAINED if each != type_]
    return either([*_clauses(type_, forms), *inside])


def _forms(system: str | None, code: str) -> Iterator[str]:
    for any_case in (False, True):
        yield from Token(system, code, any_case).forms


def _clauses(type_: str, forms: Codes, of: frozenset[str] | None = None) -> Iterator[Criterion]:
    for code, parameter in r4_registry()[type_].items():
        if parameter.type == "token" and code not in NO_CODES and (of is None or code in of):
            yield Clause(parameter, None, (forms,))


def _labelled(rule: Rule, labels: tuple[tuple[str | None, str], ...], type_: str) -> Criterion:
    """A confidentiality means a range of them; any other label itself."""
    found: list[Criterion] = []
    for system, code in labels:
        if system == CONFIDENTIALITY and code in LEVELS:
            found.append((at_least if rule.denies else at_most)(type_, code))
        else:
            found.append(labelled(type_, [form(system, code)]))
    return either(found)


def _dated(period: Period, type_: str, *, touching: bool) -> Criterion:
    """By when care took place or, where a resource does not say that, by when it was written.

    `touching`: what is partly in the period is in it.
    """
    found = _within(r4_registry()[type_]["_lastUpdated"], period, touching=True)
    for parameter in reversed(clinical(type_)):
        # `missing` is about the element, which may tell no date: an order "daily"
        told = Clause(parameter, None, (Dates("gt", EARLIEST, EARLIEST),))
        found = either(
            [conjoined(told, _within(parameter, period, touching=touching)), conjoined(negated(told), found)]
        )
    return found


def clinical(type_: str) -> list[Parameter]:
    """The parameters that say when care took place; one of them, else its `date`: a document may tell either."""
    known = r4_registry()[type_]
    codes = dict.fromkeys((CARE_DATES.get(type_, "date"), "date"))
    return [known[code] for code in codes if code in known and known[code].type == "date"]


def _within(parameter: Parameter, period: Period, *, touching: bool) -> Criterion:
    parts: list[Criterion] = []
    if period.low is not None:
        before = Clause(parameter, None, (Dates("lt", period.low, period.low),))
        after = Clause(parameter, None, (Dates("gt", period.low, period.low),))
        parts.append(after if touching else negated(before))
    if period.high is not None:
        before = Clause(parameter, None, (Dates("lt", period.high, period.high),))
        after = Clause(parameter, None, (Dates("gt", period.high, period.high),))
        parts.append(before if touching else negated(after))
    return conjoined(*parts)


def _data(data: tuple[tuple[str, str], ...], type_: str, related: Related) -> Criterion:
    """https://hl7.org/fhir/R4/valueset-consent-data-meaning.html"""
    of = {meaning: [name for each, name in data if each == meaning] for meaning in MEANINGS}
    beside = [name for each in of["related"] for name in sorted(related.get(each, ()))]
    return either(
        [
            _ids([*of["instance"], *of["related"], *beside, *of["dependents"]], type_),
            _referring(of["dependents"], type_),
            _referring(of["authoredby"], type_, AUTHORS),
        ]
    )


def _ids(references: list[str], type_: str) -> Criterion:
    ids = tuple(each.partition("/")[2] for each in references if each.partition("/")[0] == type_)
    return Clause(r4_registry()[type_]["_id"], None, ids) if ids else NOTHING


def _referring(references: list[str], type_: str, by: frozenset[str] | None = None) -> Criterion:
    if not references:
        return NOTHING
    forms = Reference(tuple(references))
    known = r4_registry()[type_].items()
    leading = (each for code, each in known if each.type == "reference" and (by is None or code in by))
    return either([Clause(each, None, (forms,)) for each in leading])
