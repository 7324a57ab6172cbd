"""What Consents and security labels leave to a caller of what it may reach: they only ever narrow that.

- What a Consent denies to the caller is not there, whatever another one permits.
- What is labelled R is for the patient and for those who care for them, and V for the patient. A Consent may permit
  more, by the label; in an emergency, when a record was opened with a reason, labels do not count.
- Of their own record, nothing is kept from a patient. Consents themselves are seen, so that everybody knows why.
- Who looked at a record is for the patient, and for those from whom nothing of it is kept back: audit events name it.

docs/consent.md, docs/adr/0014-consent.md
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from fhirserver.consents.kept import Standing
from fhirserver.consents.labels import RESTRICTED, VERY_RESTRICTED, WITHHELD, confidential
from fhirserver.consents.provisions import CLIENT, Rule
from fhirserver.consents.purposes import ADMINISTRATION, EMERGENCY, PATIENT, TREATMENT, are, is_purpose
from fhirserver.consents.ruling import Asked, Seeker, ever_hides, hides, hides_whole, unlocks
from fhirserver.context import Caller
from fhirserver.fhir.outcome import too_costly
from fhirserver.search.criteria import Belonging, Clause, Criterion, clauses
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated
from fhirserver.search.judged import Judged, meets
from fhirserver.search.parameters import r4_registry
from fhirserver.store.schema import AUDIT_EVENT

MOST = 100_000  # patients whose consents keep something from one caller
MOST_BYTES = 2_000_000  # of what they say, alike ones together: the database takes a second for so much
CLAUSE_BYTES = 50
CONSENT = "Consent"

Says = Callable[[Rule, Seeker, Asked], Criterion]


class Party(NamedTuple):
    """A caller as Consents see it: `usual`, and in some records as somebody else; `own` is the record of its own.

    `keeper`: it administers, so that Consents do not keep it from changing them.
    """

    usual: Seeker
    special: tuple[tuple[str, Seeker], ...]
    own: str | None
    keeper: bool = False

    def seeker(self, record: str) -> Seeker:
        return dict(self.special).get(record, self.usual)

    def ordinary(self) -> Party:
        """The same without its emergencies."""
        return self._replace(special=tuple(each for each in self.special if not each[1].emergency))

    @property
    def emergencies(self) -> list[str]:
        return [record for record, seeker in self.special if seeker.emergency]


def party(caller: Caller, standing: Standing, now: datetime) -> Party:
    own = f"Patient/{caller.own}" if caller.own else None
    names = {*standing.names, *filter(None, (caller.fhir_user, own))}
    if caller.client is not None:
        names.add(f"{CLIENT}|{caller.client}")
    purposes = _of_service(caller) if caller.user is None else frozenset(_of_roles(caller))
    usual = Seeker(frozenset(names), purposes)
    special = {
        f"Patient/{each}": usual._replace(purposes=purposes | {PATIENT})
        for each in sorted(caller.records)
        if each != caller.own
    }
    opened = standing.emergencies if "practitioner" in caller.roles else {}
    for id_, until in sorted(opened.items()):
        if until > now:
            special[f"Patient/{id_}"] = usual._replace(purposes=frozenset({EMERGENCY}), emergency=True)
    keeper = "admin" in caller.roles or (caller.user is None and are(purposes, ADMINISTRATION))
    return Party(usual, tuple(special.items()), own, keeper)


def _of_service(caller: Caller) -> frozenset[str]:
    """As it is registered; one that nobody knows may mean anything."""
    return caller.purposes if all(map(is_purpose, caller.purposes)) else frozenset()


def _of_roles(caller: Caller) -> Iterable[str]:
    if "practitioner" in caller.roles:
        yield TREATMENT
    if "admin" in caller.roles:
        yield ADMINISTRATION
    if caller.roles.isdisjoint(("practitioner", "admin")):
        yield PATIENT


def shown_to(
    alike: Mapping[Rule, Collection[str]], who: Party, asked: Asked, trusted: Criterion, *, labels: bool
) -> Criterion:
    """What is left of a type. `alike`: rules, by the records that they are about; `trusted`: what of R may be seen."""
    says = hides_whole if accounts(asked.type_, asked.permission) else hides
    shown = negated(_gathered(alike, who, asked, says)) if _narrows(asked, who) else EVERYTHING
    if labels:
        shown = conjoined(shown, _unlabelled(alike, who, asked, trusted))
    return shown if who.own is None else either([within([who.own], asked.type_), shown])


def accounts(type_: str, permission: str) -> bool:
    """Whether it is asked who looked at records."""
    return type_ == AUDIT_EVENT and permission in "rs"


def _narrows(asked: Asked, who: Party) -> bool:
    return asked.type_ != CONSENT or (asked.permission not in "rs" and not who.keeper)


def denied(rule: Rule, record: str, who: Party, now: datetime) -> bool:
    """Whether a rule about a record denies anything to somebody, who is not to change it then."""
    if who.keeper or who.own == record:
        return False
    seeker = who.ordinary().seeker(record)
    return any(ever_hides(rule, seeker, Asked(CONSENT, each, now, {})) for each in "rcu")


def may_permit(rule: Rule, record: str, who: Party, trusted: Criterion, now: datetime) -> bool:
    """Whether somebody sees all that a rule permits by its label. What a Consent permitted them they do not pass on.

    `trusted` is where they see what is labelled as restricted, in clauses.
    """
    if who.keeper or who.own == record or rule.unlocks is None:
        return True
    return rule.unlocks == RESTRICTED and meets(trusted, Judged("", (record,), now, {}))


def _unlabelled(alike: Mapping[Rule, Collection[str]], who: Party, asked: Asked, trusted: Criterion) -> Criterion:
    type_ = asked.type_
    return either(
        [
            negated(confidential(type_, WITHHELD)),
            conjoined(negated(confidential(type_, [VERY_RESTRICTED])), trusted),
            within(who.emergencies, type_),
            _gathered({rule: each for rule, each in alike.items() if rule.unlocks}, who, asked, unlocks),
        ]
    )


def _gathered(alike: Mapping[Rule, Collection[str]], who: Party, asked: Asked, says: Says) -> Criterion:
    """What rules say, each of the records that it is about."""
    special = dict(who.special)
    apart = special.keys() | {who.own}
    said: dict[Criterion, list[str]] = {}
    size = 0
    for rule, records in alike.items():
        groups = [(who.usual, [each for each in records if each not in apart])]
        groups += [(seeker, [record]) for record, seeker in special.items() if record in records]
        for seeker, some in groups:
            if some and (what := says(rule, seeker, asked)) != NOTHING:
                size += 0 if what in said else _bytes(what)
                said.setdefault(what, []).extend(some)
        if size > MOST_BYTES:
            said_ = f"consents that differ from one another keep too much {asked.type_} from this caller"
            raise too_costly(f"{said_}: a search would ask more than {MOST_BYTES:,} bytes")
    if sum(map(len, said.values())) > MOST:
        raise too_costly(f"the consents of more than {MOST:,} patients keep some {asked.type_} from this caller")
    return either([conjoined(within({*records}, asked.type_), what) for what, records in said.items()])


def _bytes(criterion: Criterion) -> int:
    """About as many as a filter of it has."""
    return sum(CLAUSE_BYTES + len(str(clause.values)) for clause in clauses(criterion))


def within(records: Collection[str], type_: str) -> Criterion:
    """What is in these records; of patients, only they themselves are in theirs."""
    if not records:
        return NOTHING
    if type_ == "Patient":
        ids = tuple(each.removeprefix("Patient/") for each in sorted(records))
        return Clause(r4_registry()["Patient"]["_id"], None, ids)
    return Belonging(tuple(sorted(records)))
