"""What a search may ask of a parameter, where its definition says so: modifiers, comparators, how often, which chains.

A value without a prefix is always allowed, and so is `eq`, which means the same. Published parameters are not held to
anything. https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.modifier
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fhirserver.fhir.outcome import Outcome, in_query, invalid
from fhirserver.search.criteria import AllOf, AnyOf, Chain, Clause, Composite, Criterion, Negation, Value, Within
from fhirserver.search.parameters import Parameter
from fhirserver.search.readers import shown

# As a client writes them; SearchParameter.modifier has its own words for some.
_SPELLED = {"ofType": "of-type", "type": "[type]"}
# What only `_filter` can ask, and the modifier that asks no less.
_NEAREST = {"eq": "exact", "ne": "not"}
_COMPARED = frozenset({"date", "number", "quantity"})


def check_modifier(parameter: Parameter, modifier: str | None) -> None:
    """`[type]` where a type stands in its place. Raises a 400 Outcome."""
    allowed = parameter.uses.modifiers
    if modifier is not None and allowed is not None and modifier not in map(_written, allowed):
        raise _refused(parameter, f"the modifier :{shown(modifier)}", _listed(":", map(_written, allowed)))


def check_operator(parameter: Parameter, operator: str, modifier: str | None, values: Sequence[Value]) -> None:
    """The same of `_filter`, where the modifier is that of the clause that its operator makes."""
    uses = parameter.uses
    if modifier is not None and parameter.type in _COMPARED and modifier != "missing":
        if uses.comparators is not None:  # `co` and `po` are none of them
            raise _refused(parameter, shown(operator), _listed("", ("eq", *uses.comparators)))
    elif modifier is not None and uses.modifiers is not None and _NEAREST.get(modifier, modifier) not in uses.modifiers:
        raise _refused(parameter, shown(operator), _listed(":", map(_written, uses.modifiers)))
    check_values(parameter, values)


def check_values(parameter: Parameter, values: Sequence[Value]) -> None:
    """Raises a 400 Outcome."""
    if len(values) > 1 and not parameter.uses.multiple_or:
        raise _refused(parameter, "several values", "one at a time")
    for value in values:
        _check_comparator(parameter, value)


def _check_comparator(parameter: Parameter, value: Value) -> None:
    if isinstance(value, Composite):
        for (component, _), part in zip(parameter.components, value.parts, strict=True):
            _check_comparator(component, part)
    prefix = getattr(getattr(value, "number", value), "prefix", "eq")
    allowed = parameter.uses.comparators
    if allowed is not None and prefix not in ("eq", *allowed):
        raise _refused(parameter, f"the prefix {prefix}", _listed("", ("eq", *allowed)))


def check_chain(parameter: Parameter, code: str) -> None:
    """`code` is the parameter that follows it in a chain. Raises a 400 Outcome."""
    allowed = parameter.uses.chain
    if allowed is not None and code not in allowed:
        raise _refused(parameter, f"a chain to {shown(code)}", _listed(f"{parameter.code}.", allowed))


def check_repeats(criteria: Sequence[Criterion]) -> None:
    """Of all criteria that must be met. Raises a 400 Outcome where a parameter stands twice that may not."""
    if len(criteria) > 1 or not all(isinstance(each, Clause) for each in criteria):
        _check(AllOf(tuple(criteria)))


def _check(criterion: Criterion) -> None:
    match criterion:
        case AllOf(parts) | AnyOf(parts):
            both = isinstance(criterion, AllOf)
            seen: set[Parameter] = set()
            for part in parts:
                found = {
                    each for each in _asked(part) if not (each.uses.multiple_and if both else each.uses.multiple_or)
                }
                if found & seen:
                    what, allowed = ("a second condition", "one") if both else ("an alternative", "one value at a time")
                    raise _refused(min(found & seen, key=lambda each: each.url), what, allowed)
                seen |= found
                _check(part)
        case Negation(part) | Within(part=part):
            _check(part)
        case Chain(others=others):
            for _, other in others:
                _check(other)


def _asked(criterion: Criterion) -> Iterator[Parameter]:
    """The parameters of the type itself."""
    match criterion:
        case Clause(parameter) | Within(parameter) | Chain(parameter, reverse=False):
            yield parameter
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _asked(part)
        case Negation(part):
            yield from _asked(part)


def said(parameter: Parameter) -> str:
    """For the CapabilityStatement; empty where nothing is said."""
    uses = parameter.uses
    sentences = [
        None if uses.modifiers is None else f"modifiers: {_listed(':', map(_written, uses.modifiers))}",
        None if uses.comparators is None else f"prefixes: {_listed('', ('eq', *uses.comparators))}",
        None if uses.multiple_or else "one value",
        None if uses.multiple_and else "once in a search",
        None if uses.chain is None else f"chains: {_listed(f'{parameter.code}.', uses.chain)}",
    ]
    return "; ".join(each for each in sentences if each is not None)


def _written(modifier: str) -> str:
    return _SPELLED.get(modifier, modifier)


def _listed(before: str, names: Iterable[str]) -> str:
    return ", ".join(before + name for name in dict.fromkeys(names))


def _refused(parameter: Parameter, what: str, allowed: str) -> Outcome:
    sentence = f"{what} is not allowed for {parameter.code}: its definition {parameter.url} allows {allowed}"
    return invalid(sentence, in_query(parameter.code), code="not-supported")
