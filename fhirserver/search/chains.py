"""Criteria about other resources, parsed hop by hop: chained parameters and `_has`.

    subject:Patient.name=ada                what refers to a Patient who is called so
    subject.name=ada                        the same of every type that a subject may be and that has a name
    _has:Observation:patient:code=8867-4    what an Observation of the heart rate refers to as its patient

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.search.bundled import holds
from fhirserver.search.canonicals import leads, refers
from fhirserver.search.contained import unasked
from fhirserver.search.criteria import LIST, Chain, Criterion
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.readers import Unfit, Unknown, shown, unknown_parameter
from fhirserver.search.uses import check_chain

MAX_HOPS = 20  # each takes a few calls within another; what it costs is bounded by the time of the search
MAX_STEPS = 500  # types to look into, in all chains of a search

_HAS = "_has"
_OF_ALL = frozenset({_HAS, LIST.code})


def is_chain(name: str) -> bool:
    """`_has:…`, or a name with a dot."""
    return name.partition(":")[0] == _HAS or "." in name


def _parted(name: str) -> tuple[str, str]:
    """The first hop, and what must match there."""
    if not name.startswith(_HAS):
        head, _, rest = name.partition(".")
        return head, rest
    parts = name.split(":", 3)
    if parts[0] != _HAS or len(parts) < 4 or not all(parts):
        raise Unknown(f"{shown(name)}: write _has:Type:reference:parameter, as in _has:Observation:patient:code")
    return ":".join(parts[:3]), parts[3]


class Chains:
    """Reads the chains of one search; `clause` reads what stands at their ends: a type, a name and a value."""

    def __init__(self, registry: Registry, clause: Callable[[str, str, str], Criterion]) -> None:
        self._registry = registry
        self._clause = clause
        self._steps = 0
        self._hops = 0

    def read(self, type_: str, name: str, value: str) -> Criterion:
        """Raises Unknown for what cannot be followed, and a 400 Outcome for a value that no type can read."""
        if not is_chain(name):
            return self._clause(type_, name, value)
        head, rest = _parted(name)
        code = rest.partition(".")[0].partition(":")[0]
        return self.through(type_, head, code, lambda far: self.read(far, rest, value))

    def through(self, type_: str, head: str, code: str, far: Callable[[str], Criterion]) -> Chain:
        """One hop, by `subject:Patient` or `_has:Observation:patient`, to what `far` says of each type there.

        Types that do not have the parameter `code` are not asked.
        """
        self._hops += 1
        try:
            if self._hops > MAX_HOPS:
                raise invalid(f"a chain has at most {MAX_HOPS} hops", code="too-costly")
            return (self._has if head.startswith(_HAS) else self._chain)(type_, head, code, far)
        finally:
            self._hops -= 1

    def _chain(self, type_: str, head: str, next_: str, far: Callable[[str], Criterion]) -> Chain:
        code, colon, target = head.partition(":")
        parameter = self._reference(type_, code, within=True)
        check_chain(parameter, next_)
        targets = self._targets(parameter, type_)
        if colon and target not in targets:
            known = ", ".join(targets[:8])
            raise Unfit(f"{code}:{shown(target)}: {code} of {type_} never refers to that; it may refer to {known}")
        others = self._any((target,) if colon else targets, next_, far)
        if holds(parameter) and (reason := next(filter(None, (unasked(each) for _, each in others)), None)):
            raise Unknown(f"{code} of {type_} is within the Bundle; {reason}")
        return Chain(parameter, others)

    def _has(self, type_: str, head: str, next_: str, far: Callable[[str], Criterion]) -> Chain:
        _, source, *rest = head.split(":")
        if len(rest) != 1:
            raise Unknown(f"{shown(head)}: write _has:[type]:[parameter], as in _has:Observation:patient")
        (code,) = rest
        if source not in self._registry:
            raise Unknown(f"_has: {shown(source)} is not a resource type")
        parameter = self._reference(source, code)
        targets = self._targets(parameter, source)
        if type_ not in targets:
            known = ", ".join(targets[:8])
            raise Unknown(f"_has: {code} of {source} never refers to {type_}; it may refer to {known}")
        return Chain(parameter, self._any((source,), next_, far), reverse=True)

    def _any(
        self, types: Sequence[str], code: str, far: Callable[[str], Criterion]
    ) -> tuple[tuple[str, Criterion], ...]:
        """What can be said of the types that have a parameter."""
        self._steps += len(types)
        if self._steps > MAX_STEPS:
            raise invalid("leads to too many types; name them, as in subject:Patient.name", code="too-costly")
        possible = [type_ for type_ in types if code in _OF_ALL or code in self._registry[type_]]
        read: list[tuple[str, Criterion]] = []
        errors: list[Unknown | Outcome] = []
        for type_ in possible:
            try:
                read.append((type_, far(type_)))
            except Unknown as error:
                errors.append(error)
            except Outcome as error:
                if error.issues[0].code == "too-costly":
                    raise
                errors.insert(0, error)
        if read:
            return tuple(read)
        if errors:
            raise errors[0]
        known = {each: parameter for type_ in types for each, parameter in self._registry[type_].items()}
        raise unknown_parameter(" or ".join([*types[:4], "…"][: len(types)]), code, known)

    def _reference(self, type_: str, code: str, *, within: bool = False) -> Parameter:
        """`within`: what a resource holds counts, too."""
        known = self._registry[type_]
        parameter = known.get(code)
        if parameter is None:
            raise unknown_parameter(type_, code, known)
        if parameter.type != "reference":
            raise Unknown(f"{code} of {type_} is of type {parameter.type}; a chain goes through references")
        if not leads(self._registry, parameter, type_) and not (within and holds(parameter)):
            raise Unknown(f"{code} of {type_} holds whole resources; a chain goes through references")
        return parameter

    def _targets(self, parameter: Parameter, type_: str) -> tuple[str, ...]:
        """The types at the other end; where it is named by a URL only, those that have one."""
        targets = self._registry.reference_targets(type_, parameter.code)
        if refers(self._registry, parameter, type_) or holds(parameter):
            return targets
        return tuple(target for target in targets if "url" in self._registry[target])
