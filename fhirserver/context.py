"""What a request carries: where to look, what the rules are, who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from fhirserver.consents.kept import Consents
from fhirserver.fhir.definitions import Definitions
from fhirserver.search.compartments import SOMEBODY
from fhirserver.search.index import Indexer
from fhirserver.search.live import Live, Rules
from fhirserver.search.parameters import Registry
from fhirserver.settings import Settings
from fhirserver.store.jobs import Job
from fhirserver.store.ledger import Ledger
from fhirserver.store.resources import Store
from fhirserver.validation.kept import KeptProfiles
from fhirserver.validation.validate import Validator
from smart_auth.scopes import Scope
from smart_auth.server import Auth
from terminology.kept import Terminology


class Caller(NamedTuple):
    """Who asks, under what scopes. `open` may do everything: anyone under --open, and the operator.

    `name` is for logs; `patient` is the id of that of the launch context; `user` an account, `fhir_user` its resource,
    and `records` the ids of the patients whose records it keeps, its own or others'; `practice` says whose records a
    practitioner may open, as the setting does; `own` the id of their own Patient; `purposes` what a service is
    registered to use data for; `token` the id of the access token, never its secret.
    """

    name: str
    open: bool = False
    scopes: tuple[Scope, ...] = ()
    patient: str | None = None
    user: str | None = None
    fhir_user: str | None = None
    roles: frozenset[str] = frozenset()
    records: tuple[str, ...] = ()
    practice: str = "care-team"
    own: str | None = None
    purposes: frozenset[str] = frozenset()
    client: str | None = None
    token: str | None = None

    @property
    def stranger(self) -> bool:
        """Whether nothing says who asks: no token, no log-in, and no server that is open to all."""
        return not self.open and self.user is None and self.client is None


NOBODY = Caller("nobody", open=False)
ANYONE = Caller("anyone", open=True)
OPERATOR = Caller("operator", open=True)  # who runs the server: reaching its data already allows everything

Run = Callable[..., Awaitable[Any]]


class Parameter(NamedTuple):
    """Of an operation of our own: with a type, or (out of it) with parts, which are (name, type)."""

    name: str
    type: str | None
    documentation: str
    min: int = 0
    max: str = "1"
    use: str = "in"
    parts: tuple[tuple[str, str], ...] = ()


class Described(NamedTuple):
    """An operation of our own, as its OperationDefinition says it."""

    id: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    affects_state: bool = False


class Operation(NamedTuple):
    """A named operation: `run(ctx, request, type_, id_)` answers; `definition` is ours, or the URL of HL7's."""

    name: str
    instance: bool
    definition: str | Described
    run: Run


class Trail:
    """The resources that a request read or wrote, by the patient whose data they are; by "" where they are nobody's.

    `beside` are patients whose data only what is read with it is: the documents that a Binary is the content of.
    """

    def __init__(self) -> None:
        self.touched: dict[str, list[str]] = {}
        self.beside: set[str] = set()
        self.emergencies: set[str] = set()

    def add(self, reference: str, compartments: Iterable[str]) -> None:
        patients = [each for each in compartments if each.startswith("Patient/") and each != SOMEBODY]
        if reference.startswith("Patient/"):  # to whom it is linked may be somebody else
            patients = [reference]
        for patient in patients or [""]:
            self.touched.setdefault(patient, []).append(reference)

    def opened(self, records: Iterable[str]) -> None:
        """Of these, something is seen that is kept back but in an emergency."""
        self.emergencies.update(records)


class Enqueue(Protocol):
    """Have a job done soon. Asked for twice, of one kind and by one key, it is one job and done once."""

    async def __call__(self, kind: str, key: str, arguments: Mapping[str, Any]) -> Job: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Frozen; `dataclasses.replace` makes the context of one request or of one transaction.

    `rules` are those of `live` as they were when the request began. `leaving` are the ids, by type, of what the
    transaction that this is part of deletes: no chain leads over it any more. `ledger` is where audit events go, if
    they are kept, and `trail` what this request touched.
    """

    store: Store
    definitions: Definitions
    rules: Rules
    live: Live
    validator: Validator
    settings: Settings
    secret: bytes
    now: Callable[[], datetime]
    operations: Mapping[tuple[str, str, bool], Operation]
    enqueue: Enqueue
    terminology: Terminology
    profiles: KeptProfiles
    consents: Consents
    auth: Auth
    caller: Caller = NOBODY
    ledger: Ledger | None = None
    trail: Trail | None = None
    leaving: Mapping[str, Set[str]] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return self.rules.registry

    @property
    def indexer(self) -> Indexer:
        return self.rules.indexer

    def fresh(self) -> Context:
        """With the rules as they are now."""
        return self if self.rules is self.live.rules else replace(self, rules=self.live.rules)

    def touched(self, reference: str, compartments: Iterable[str]) -> None:
        """This resource was read or written for the caller: its audit event names it."""
        if self.trail is not None:
            self.trail.add(reference, compartments)

    @property
    def base_url(self) -> str:
        return self.settings.base_url
