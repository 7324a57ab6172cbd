"""A unit in words, by the names of the table: `mg/dL` is milligram per deciliter."""

from __future__ import annotations

from fhirserver.fhir.units.grammar import Part, Term, Unit, parse
from fhirserver.fhir.units.table import table

_POWERS = {2: "square", 3: "cubic"}


def name(code: str) -> str:
    """Raises NoUnit."""
    return _term(parse(code))


def symbol(code: str) -> str | None:
    """How a unit of the table is printed: `°C` for Cel. Raises NoUnit."""
    match parse(code).parts:
        case (Part(Unit("", atom, 1), False, None),):
            return table().atoms[atom].symbol
    return None


def _term(term: Term) -> str:
    words: list[str] = []
    for number, part in enumerate(term.parts):
        if part.divides:
            words.append("per")
        elif number and any(each.divides for each in term.parts[:number]):
            words.append("times")  # not of what was divided by
        words.append(_part(part))
    return " ".join(words)


def _part(part: Part) -> str:
    match part.what:
        case None:
            return part.note or "1"
        case Term():
            said = _term(part.what)
            said = f"({said})" if len(part.what.parts) > 1 else said
        case Unit():
            said = _unit(part.what)
        case number:
            said = str(number)
    return f"{said} ({part.note})" if part.note else said


def _unit(unit: Unit) -> str:
    if unit.atom in ("10*", "10^"):
        return f"10^{unit.exponent}" if unit.exponent != 1 else "10"
    known = table()
    said = (known.prefixes[unit.prefix].name if unit.prefix else "") + known.atoms[unit.atom].name
    if unit.exponent in _POWERS:
        return f"{_POWERS[unit.exponent]} {said}"
    return said if unit.exponent == 1 else f"{said} to the power of {unit.exponent}"
