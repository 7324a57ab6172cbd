"""What rules hide from somebody and what they permit, as criteria: the algebra of provisions and their exceptions.

    hides(rule)   = rule is met, and: an exception in it hides; or it denies, and no exception in it permits
    permits(rule) = rule is met, and: no exception in it hides, and one permits or it permits itself

What is hidden by any Consent is hidden, so that one more never shows more. Where no exception hides, those that permit
are those that `grants` finds: so one rule is looked at a few times, however deep it lies.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from fhirserver.consents.conditions import Related, about, named
from fhirserver.consents.labels import at_most
from fhirserver.consents.provisions import Rule
from fhirserver.consents.purposes import are, may_be
from fhirserver.search.criteria import Criterion
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated


class Seeker(NamedTuple):
    """Who wants something of a record, and what for.

    `names` are those that an actor of a rule may have: `Practitioner/1`, the organizations where they work, the client.
    `emergency`: a record was opened with a reason, against what denies it without naming what for.
    """

    names: frozenset[str]
    purposes: frozenset[str]
    emergency: bool = False


class Asked(NamedTuple):
    """What is wanted: resources of a type, for a permission of cruds, at a time."""

    type_: str
    permission: str
    now: datetime
    related: Related


def hides(rule: Rule, seeker: Seeker, asked: Asked, purposeful: bool = False) -> Criterion:
    """`purposeful`: a rule around it names what for."""
    purposeful = purposeful or rule.purposes is not None
    met = _met(rule, seeker, asked, generous=True)
    if met == NOTHING:
        return NOTHING
    inner = [hides(part, seeker, asked, purposeful) for part in rule.parts]
    if rule.denies and (purposeful or not seeker.emergency):
        inner.append(negated(either([grants(part, seeker, asked) for part in rule.parts])))
    return conjoined(met, either(inner))


def grants(rule: Rule, seeker: Seeker, asked: Asked) -> Criterion:
    """What it permits, but for what an exception in it hides."""
    met = _met(rule, seeker, asked, generous=False)
    if met == NOTHING or not rule.denies:
        return met
    return conjoined(met, either([grants(part, seeker, asked) for part in rule.parts]))


def ever_hides(rule: Rule, seeker: Seeker, asked: Asked) -> bool:
    """Whether it hides anything from somebody, at any time, whatever that is."""
    return hides(_bare(rule, timeless=True), seeker, asked) != NOTHING


def hides_whole(rule: Rule, seeker: Seeker, asked: Asked) -> Criterion:
    """All of the records that it is about, where it hides anything of them from somebody at that time."""
    return EVERYTHING if hides(_bare(rule, timeless=False), seeker, asked) != NOTHING else NOTHING


def _bare(rule: Rule, *, timeless: bool) -> Rule:
    """Who may do what for what. An exception for some data is none then, nor is one for some time if `timeless`."""
    limits = (rule.classes, rule.codes, rule.labels, rule.dates, rule.data, rule.period if timeless else None)
    clear = rule.clear and all(each is None for each in limits)
    period = None if timeless else rule.period
    parts = tuple(_bare(each, timeless=timeless) for each in rule.parts)
    return Rule(rule.denies, rule.actors, rule.purposes, rule.actions, period, parts=parts, clear=clear)


def unlocks(rule: Rule, seeker: Seeker, asked: Asked, purposeful: bool = False, level: str | None = None) -> Criterion:
    """What it permits by a confidentiality that it names, or that a rule around it does: up to that, nothing higher."""
    purposeful, level = purposeful or rule.purposes is not None, rule.level or level
    met = _met(rule, seeker, asked, generous=False)
    if met == NOTHING:
        return NOTHING
    hidden = either([hides(part, seeker, asked, purposeful) for part in rule.parts])
    inner = [unlocks(part, seeker, asked, purposeful, level) for part in rule.parts]
    if level is not None and not rule.denies:
        inner.append(at_most(asked.type_, level))
    return conjoined(met, negated(hidden), either(inner))


def _met(rule: Rule, seeker: Seeker, asked: Asked, *, generous: bool) -> Criterion:
    """Nothing, where somebody else is meant, something else or another time; else the data that it is about."""
    if not rule.clear and not generous:
        return NOTHING
    if rule.period is not None and not rule.period.contains(asked.now):
        return NOTHING
    for some, held in (
        (rule.actors, lambda each: each in seeker.names),
        (rule.actions, lambda each: each == asked.permission),
        (rule.purposes, lambda each: (may_be if generous else are)(seeker.purposes, each)),
    ):
        if some is not None and not (generous and not some.clear) and not any(map(held, some.known)):
            return NOTHING
    return conjoined(about(rule, asked.type_, generous), named(rule, asked.type_, generous, asked.related))
