"""https://hl7.org/fhir/R4/search.html#string"""

from __future__ import annotations

from typing import Any

from . import Resource, Table


def patient(id_: str, name: Resource | None = None, **elements: Any) -> Resource:
    return {"resourceType": "Patient", "id": id_} | ({"name": [name]} if name else {}) | elements


def organization(id_: str, name: str, *alias: str) -> Resource:
    return {"resourceType": "Organization", "id": id_, "name": name} | ({"alias": [*alias]} if alias else {})


MAIN_STREET = {
    "line": ["12 Main St", "Apt 3"],
    "city": "Springfield",
    "state": "IL",
    "postalCode": "62704",
    "country": "US",
    "use": "home",
}
WORLD = [
    patient("a", {"family": "van der Meer", "given": ["Eve", "Mary Ann"]}),
    patient("b", {"family": "Çelik", "given": ["Evelyn"]}),
    patient("c", {"family": "Meerkat", "given": ["Severine"]}),
    patient("d", {"text": "Eva Perón, known as Evita"}),
    patient("e", address=[MAIN_STREET]),
    patient(
        "f",
        {"family": "Straße", "given": ["Jürgen"], "prefix": ["Dr"], "suffix": ["PhD"]},
        address=[{"text": "Am Hafen 7, Köln"}],
    ),
    patient("g", {"family": "Smith, Jones", "given": ["a|b", "c$d", "e\\f"]}),
    patient(
        "h", {"family": "O  Brien", "given": [None], "_given": [{"extension": [{"url": "urn:x", "valueCode": "u"}]}]}
    ),
    patient("i", {"family": "EVE"}),
    patient("j", {"family": "O'Hara-Quinn", "given": ["Anne-Marie", "J.R."]}),
    patient("k", {"family": "Ohara", "given": ["Anne Marie"], "text": "Ohara, Anne Marie (née Carreño Quiñones)"}),
    patient("l", {"family": "Carreño Quiñones", "given": ["Jose"]}),
    organization("o4", "Ärzte/Praxis Nord"),
    organization("o1", "Health Level Seven International", "HL7", "HL7 Inc"),
    organization("o2", "Health Clinic"),
    organization("o3", "l'Hôpital"),
]

ROWS = [
    # the examples of the specification
    ("Patient?given=eve", "a b"),
    ("Patient?given:contains=eve", "a b c"),
    ("Patient?given:exact=Eve", "a"),
    ("Patient?given:exact=eve", ""),
    ("Patient?given:exact=EVE", ""),
    ("Patient?given:exact=Ev", ""),
    # a start, whatever the case
    ("Patient?given=EVE", "a b"),
    ("Patient?given=Evelyn", "b"),
    ("Patient?given=evelynn", ""),
    ("Patient?given=verine", ""),
    ("Patient?family=van", "a"),
    ("Patient?family=VAN DER", "a"),
    ("Patient?family=van der meer", "a"),
    ("Patient?family=meerk", "c"),
    ("Patient?family=eve", "i"),
    # combining characters
    ("Patient?family=celik", "b"),
    ("Patient?family=CELIK", "b"),
    ("Patient?family=çel", "b"),
    ("Patient?family=c\u0327elik", "b"),
    ("Patient?family:exact=Çelik", "b"),
    ("Patient?family:exact=Celik", ""),
    ("Patient?family:exact=çelik", ""),
    ("Patient?family:contains=ELI", "b"),
    ("Patient?given=jurgen", "f"),
    ("Patient?given=JÜRGEN", "f"),
    ("Patient?given:exact=Jürgen", "f"),
    ("Patient?given:exact=Jurgen", ""),
    ("Patient?family=straße", "f"),
    ("Patient?family=STRASSE", "f"),
    ("Patient?family:contains=ass", "f"),
    ("Organization?name:contains=hopital", "o3"),
    # white space
    ("Patient?family=o brien", "h"),
    ("Patient?family=O%09Brien", "h"),
    ("Patient?family=o   brien", "h"),
    ("Patient?family:exact=O  Brien", "h"),
    ("Patient?family:exact=O Brien", ""),
    ("Patient?given=mary ann", "a"),
    ("Patient?given=mary  ann", "a"),
    # punctuation
    ("Patient?family=o'hara", "j k"),
    ("Patient?family=ohara", "j k"),
    ("Patient?family=O\u2019HARA", "j k"),
    ("Patient?family=o'hara-quinn", "j"),
    ("Patient?family=ohara quinn", "j"),
    ("Patient?family=oharaquinn", "j"),
    ("Patient?family=smith jones", "g"),
    ("Patient?given=anne-marie", "j k"),
    ("Patient?given=anne marie", "j k"),
    ("Patient?given=annemarie", "j"),
    ("Patient?given=jr", "j"),
    ("Patient?given=j.r", "j"),
    ("Patient?name=dr.", "f"),
    (r"Patient?address=12 main st.\, apt", ""),
    ("Patient?address=12-main", "e"),
    ("Organization?name=lhopital", "o3"),
    ("Organization?name=ärzte praxis", "o4"),
    ("Organization?name=praxis", ""),
    ("Patient?family:exact=O'Hara-Quinn", "j"),
    ("Patient?family:exact=OHara-Quinn", ""),
    ("Patient?family:exact=O'Hara Quinn", ""),
    ("Patient?family:contains=hara-q", "j"),
    ("Patient?family:contains=haraq", "j"),
    ("Patient?family:contains=hara q", "j"),
    ("Patient?name:contains=marie (n\u00e9e", "k"),
    # each word of a family name, of nothing else
    ("Patient?family=meer", "a c"),
    ("Patient?family=der", "a"),
    ("Patient?family=der meer", "a"),
    ("Patient?family=meer van", ""),
    ("Patient?family=quinn", "j"),
    ("Patient?family=quinones", "l"),
    ("Patient?family=carreno", "l"),
    ("Patient?family=carreno quinones", "l"),
    ("Patient?name=quinones", "l"),
    ("Patient?name=meer", "a c"),
    ("Patient?given=ann", "j k"),
    ("Patient?given=marie", ""),
    ("Patient?family:exact=Meer", ""),
    ('Patient?_filter=family eq "der meer"', ""),
    ('Patient?_filter=family eq "van der meer"', "a"),
    ('Patient?_filter=family ne "van der meer" and family sw "van"', ""),
    ('Patient?_filter=family gt "smith" and family sw "smith"', "g"),
    ('Patient?_filter=family lt "n" and family sw "meer"', "c"),
    ("Patient?family=quin&_sort=family", "l j"),
    # :contains
    ("Patient?family:contains=meer", "a c"),
    ("Patient?family:contains=MEER", "a c"),
    ("Patient?family:contains=der m", "a"),
    ("Patient?family:contains=meer,eli", "a b c"),
    ("Patient?name:contains=evit", "d"),
    ("Patient?family:contains=[a-z]", ""),
    # every part of a HumanName
    ("Patient?name=eve", "a b i"),
    ("Patient?name=eva", "d"),
    ("Patient?name=dr", "f"),
    ("Patient?name=phd", "f"),
    ("Patient?name=mary", "a"),
    ("Patient?name:exact=Dr", "f"),
    ("Patient?name:exact=dr", ""),
    ("Patient?name:contains=peron", "d"),
    # every part of an Address
    ("Patient?address=12 main", "e"),
    ("Patient?address=apt", "e"),
    ("Patient?address=springfield", "e"),
    ("Patient?address=il", "e"),
    ("Patient?address=627", "e"),
    ("Patient?address=us", "e"),
    ("Patient?address=home", ""),
    ("Patient?address=am hafen", "f"),
    ("Patient?address:contains=hafen", "f"),
    ("Patient?address:contains=koln", "f"),
    ("Patient?address-city=spring", "e"),
    ("Patient?address-city:exact=Springfield", "e"),
    ("Patient?address-city:exact=springfield", ""),
    ("Patient?address-state=il", "e"),
    ("Patient?address-postalcode=62704", "e"),
    ("Patient?address-country=u", "e"),
    # more than one element
    ("Organization?name=health", "o1 o2"),
    ("Organization?name=hl7", "o1"),
    ("Organization?name:exact=HL7", "o1"),
    ("Organization?name:exact=HL", ""),
    ("Organization?name=hl7 i", "o1"),
    # or, and
    ("Patient?family=van,celik", "a b"),
    ("Patient?given=eve,jur", "a b f"),
    ("Patient?given=eve&given=mary", "a"),
    ("Patient?given=eve&family=celik", "b"),
    ("Patient?given=eve&family=smith", ""),
    ("Organization?name=health&name=hl7", "o1"),
    ("Patient?given:exact=Eve,Evelyn", "a b"),
    # escapes
    (r"Patient?family=smith\, jones", "g"),
    ("Patient?family=smith", "g"),
    (r"Patient?family=smith\, jones,meerkat", "c g"),
    (r"Patient?family:exact=Smith\, Jones", "g"),
    (r"Patient?given=a\|b", "g"),
    (r"Patient?given=c\$d", "g"),
    (r"Patient?given=e\\f", "g"),
    (r"Patient?given:exact=a\|b", "g"),
    (r"Patient?given:exact=c\$d,e\\g", "g"),
    # :missing
    ("Patient?name:missing=true", "e"),
    ("Patient?family:missing=true", "d e"),
    ("Patient?given:missing=true", "d e h i"),
    ("Patient?given:missing=false", "a b c f g j k l"),
    ("Patient?address:missing=false", "e f"),
    ("Patient?address-city:missing=false", "e"),
]

REFUSED = [
    "Patient?name:nonsense=eve",
    "Patient?name:not=eve",
    "Patient?name:identifier=eve",
    "Patient?name=eve,",
    "Patient?name='",
    "Patient?name:contains=-",
    "Organization?name=...",
    "Patient?name=,",
]

TABLE = Table(WORLD, ROWS, REFUSED)
