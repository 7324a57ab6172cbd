"""The Consents in force, compiled and kept by this process: by whose record they are about, and alike ones together.

What is kept is the present state as long as no change was told and changes would have been told (`epochs`). Records of
many patients follow few forms of consent, so that what one means for somebody is worked out once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.consents.opening import Opening
from fhirserver.consents.provisions import Rule
from fhirserver.epochs import Epochs
from fhirserver.search.criteria import Criterion

MOST = 1_000  # of what was worked out
MOST_RECORDS = 2_000_000  # in all of it
MEMBERS = ("CareTeam/", "Group/", "Organization/", "PractitionerRole/")  # actors that stand for others


class Ruling(NamedTuple):
    """A version of a Consent, by what it says of a record."""

    version: int
    record: str
    rule: Rule


class Standing(NamedTuple):
    """What else somebody is: the roles, organizations, teams and groups, and which records are open in an emergency."""

    names: frozenset[str]
    emergencies: Mapping[str, datetime]  # until when, by the id of a patient
    until: datetime | None = None  # when the names may be others by themselves


class Standings(Epochs):
    """By whom they are of; the oldest goes first."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Hashable, tuple[Standing, int]] = {}

    def get(self, who: Hashable, now: datetime) -> Standing | None:
        found = self._kept.get(who)
        if found is None or not self.lasts(found[1]):
            return None
        standing = found[0]
        return standing if standing.until is None or now < standing.until else None

    def keep(self, who: Hashable, standing: Standing, epoch: int) -> None:
        _keep(self._kept, who, (standing, epoch))


class Consents(Epochs):
    """`told` are the Consents that changed since they were looked at, by the epoch in which they did."""

    def __init__(self) -> None:
        super().__init__()
        self.standings = Standings()
        self.opening = Opening()
        self.labels = Labels()
        self.rulings: dict[str, Ruling] = {}
        self.by_record: dict[str, dict[str, Rule]] = {}
        self.alike: dict[Rule, set[str]] = {}
        self.actors: Counter[str] = Counter()  # what all rules mention, and in how many of them
        self.related: Counter[str] = Counter()
        self.times: Counter[datetime] = Counter()
        self._told: dict[str, int] = {}
        self._looked = -1  # the epoch of the last look
        self._lost = 0  # the epoch since when all has to be looked at again
        self._worked_out: dict[Hashable, _WorkedOut] = {}

    def changed_ids(self, ids: Iterable[str]) -> None:
        self.changed()
        self._told.update(dict.fromkeys(ids, self.epoch))

    def lost(self) -> None:
        super().lost()
        self._lost = self.epoch

    @property
    def present(self) -> bool:
        """Whether what is kept needs no second look."""
        return self.lasts(self._looked)

    @property
    def stale(self) -> list[str] | None:
        """The Consents to look at; None where it may be all of them."""
        return sorted(self._told) if self._lost <= self._looked < self.epoch else None

    def take(self, looked: Mapping[str, Ruling | None], epoch: int, *, whole: bool) -> None:
        """What was found, of some Consents or of all of them, as things were in an epoch."""
        if epoch < self._looked:
            return  # somebody else has looked since
        gone = dict.fromkeys(self.rulings.keys() - looked.keys()) if whole else {}
        changed = {id_: found for id_, found in {**gone, **looked}.items() if self.rulings.get(id_) != found}
        for id_, ruling in changed.items():
            self._replace(id_, ruling)
        if changed:
            self._worked_out.clear()
        self._looked = epoch
        self._told = {id_: at for id_, at in self._told.items() if at > epoch}

    def _replace(self, id_: str, ruling: Ruling | None) -> None:
        before = self.rulings.pop(id_, None)
        if before is not None:
            rules = self.by_record[before.record]
            del rules[id_]
            if before.rule not in rules.values():
                self.alike[before.rule].discard(before.record)
                if not self.alike[before.rule]:
                    del self.alike[before.rule]
                    self._count(before.rule, -1)
            if not rules:
                del self.by_record[before.record]
        if ruling is not None:
            self.rulings[id_] = ruling
            self.by_record.setdefault(ruling.record, {})[id_] = ruling.rule
            if ruling.rule not in self.alike:
                self._count(ruling.rule, 1)
            self.alike.setdefault(ruling.rule, set()).add(ruling.record)

    def _count(self, rule: Rule, by: int) -> None:
        """What every search asks of all rules, so that none looks through all of them for it."""
        _count(self.actors, rule.names, by)
        _count(self.related, rule.related, by)
        _count(self.times, rule.times, by)

    def alike_in(self, records: Iterable[str]) -> Mapping[Rule, Collection[str]]:
        """The rules about some records, by those that each is about."""
        found: dict[Rule, set[str]] = {}
        for record in records:
            for rule in self.by_record.get(record, {}).values():
                found.setdefault(rule, set()).add(record)
        return found

    @property
    def names_members(self) -> bool:
        """Whether any rule is about somebody by what they belong to."""
        return any(name.startswith(MEMBERS) for name in self.actors)

    def until(self, now: datetime) -> datetime | None:
        return min((time for time in self.times if time > now), default=None)

    def worked_out(self, asked: Hashable, now: datetime) -> Criterion | None:
        """What was kept under this key, if it still means the same."""
        found = self._worked_out.get(asked)
        return found.criterion if found is not None and (found.until is None or now < found.until) else None

    def work_out(self, asked: Hashable, found: Criterion, until: datetime | None) -> None:
        """Keep what all rules together come to, until the next of their periods begins or ends."""
        size = 1 + len(self.rulings)
        if size * (len(self._worked_out) + 1) > MOST_RECORDS:
            self._worked_out.clear()
        _keep(self._worked_out, asked, _WorkedOut(found, until))


class _WorkedOut(NamedTuple):
    criterion: Criterion
    until: datetime | None


class Labels(Epochs):
    """The types of which something is labelled so that not everybody may see it. What is known is never forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()
        self._absent: dict[str, int] = {}

    def add(self, type_: str) -> None:
        if type_ not in self._known:
            self._known.add(type_)
            self.changed()

    def known(self, type_: str) -> bool | None:
        """None where the database must be asked."""
        if type_ in self._known:
            return True
        return False if self.lasts(self._absent.get(type_, -1)) else None

    def absent(self, type_: str, epoch: int) -> None:
        """The database was asked in this epoch, and there is none."""
        self._absent[type_] = epoch


def _count(found: Counter[Any], mentioned: Iterable[Any], by: int) -> None:
    for each in mentioned:
        found[each] += by
        if not found[each]:
            del found[each]


def _keep(kept: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MOST:
        del kept[next(iter(kept))]
