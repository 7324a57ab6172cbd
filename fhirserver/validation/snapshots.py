"""Snapshots: the elements of the base with a differential put in. https://hl7.org/fhir/R4/profiling.html#snapshot

Only what validation needs is generated: prose, mappings and examples are left out. An element that the base does not
unfold (`Patient.name.family`) is unfolded from its type, or from the profile that its type names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fhirserver.fhir.definitions import STRUCTURE, Definitions, Element

Json = dict[str, Any]
Known = Callable[[str], Sequence[Json] | None]  # the snapshot of a profile by its canonical

# what a profile says of an element, and validation asks
_kept = "id path sliceName slicing min max type contentReference maxLength binding constraint isModifier"
KEPT: Final = frozenset(_kept.split())
CONSTRAINT: Final = ("key", "severity", "human", "expression")
MOST_ELEMENTS: Final = 15_000
VALUES: Final = ("fixed", "pattern", "minValue", "maxValue")


class TooLarge(Exception):
    """A snapshot would have more elements than anybody writes."""


@dataclass(slots=True)
class Branch:
    """An element, the elements below it by name, and its slices by theirs."""

    name: str
    element: Json = field(default_factory=dict)
    children: dict[str, Branch] = field(default_factory=dict)
    slices: dict[str, Branch] = field(default_factory=dict)

    def copy(self) -> Branch:
        children = {name: each.copy() for name, each in self.children.items()}
        return Branch(self.name, {**self.element}, children, {name: each.copy() for name, each in self.slices.items()})

    def size(self) -> int:
        inner = (*self.children.values(), *self.slices.values())
        return 1 + sum(each.size() for each in inner)


def snapshot(differential: Iterable[Json], base: Iterable[Json], known: Known, definitions: Definitions) -> list[Json]:
    """The elements of a profile, in their order, each with its id."""
    whole = outline(base)
    _Merge(known, definitions).merge(whole, outline(differential))
    return list(_flat(whole, whole.name, whole.name))


def type_elements(name: str, definitions: Definitions) -> list[Json]:
    """The elements of a type, as a StructureDefinition has them."""
    definition = definitions.types[name]
    root = {"id": name, "path": name, "min": 0, "max": "*", "constraint": _constraints(definition.constraints)}
    return [root, *_type_elements(name, name, definitions)]


def _type_elements(type_: str, path: str, definitions: Definitions) -> Iterator[Json]:
    for each in definitions.types[type_].elements:
        element = _base_element(each, path, definitions)
        yield element
        if each.types and each.types[0] == f"{type_}.{each.name}":
            yield from _type_elements(each.types[0], element["path"], definitions)


def _base_element(element: Element, path: str, definitions: Definitions) -> Json:
    at = f"{path}.{element.name}{'[x]' if element.choice else ''}"
    most = "*" if element.max is None else str(element.max)
    out: Json = {"id": at, "path": at, "min": element.min, "max": most}
    first = definitions.types[element.types[0]] if element.types else None
    if first is not None and first.kind == "backbone":
        own = element.types[0].rpartition(".")[2] == element.name and path.endswith(element.types[0].rpartition(".")[0])
        out |= {"type": [{"code": first.base}]} if own else {"contentReference": f"#{element.types[0]}"}
    else:
        out["type"] = [_type(element, each) for each in element.types]
    if element.binding is not None and element.binding.value_set:
        out["binding"] = {"strength": element.binding.strength, "valueSet": element.binding.value_set}
    if element.constraints:
        out["constraint"] = _constraints(element.constraints)
    if element.modifier:
        out["isModifier"] = True
    return out


def _type(element: Element, code: str) -> Json:
    out: Json = {"code": code}
    if targets := element.targets.get(code):
        out["targetProfile"] = [STRUCTURE + each for each in targets]
    if profiles := element.profiles.get(code):
        out["profile"] = list(profiles)
    return out


def _constraints(constraints: Iterable[Any]) -> list[Json]:
    return [dict(zip(CONSTRAINT, each, strict=True)) for each in constraints]


# elements as a tree


def outline(elements: Iterable[Json]) -> Branch:
    """A tree of elements that may leave out what is between: each is found by its id, or by what came before it."""
    root: Branch | None = None
    slices: dict[str, str] = {}  # the slice that the elements of a path are of, while it is being read
    for each in elements:
        path: str = each["path"]
        names = path.split(".")
        slices = {known: name for known, name in slices.items() if path == known or path.startswith(f"{known}.")}
        if "sliceName" in each:
            slices[path] = each["sliceName"]
        else:
            slices.pop(path, None)
        if root is None:
            root = Branch(names[0])
        steps = _steps(each.get("id", ""), names) or [slices.get(".".join(names[: i + 1])) for i in range(len(names))]
        said = kept(each)
        _put(root, names, steps).element |= {key: said[key] for key in said if key not in ("id", "path")}
    return root or Branch("")


def _steps(id_: str, names: list[str]) -> list[str | None] | None:
    """The slice of each step of an id; None where the id is not of this path."""
    parts = [part.partition(":") for part in id_.split(".")]
    if len(parts) != len(names) or any(_bare(ours[0]) != _bare(name) for ours, name in zip(parts, names, strict=True)):
        return None
    return [name or None for _, _, name in parts]


def _bare(name: str) -> str:
    return name.removesuffix("[x]")


def _put(root: Branch, names: list[str], steps: list[str | None]) -> Branch:
    here = root
    for name, slice_ in zip(names[1:], steps[1:], strict=True):
        here = here.children.setdefault(name, Branch(name))
        if slice_ is not None:
            here = here.slices.setdefault(slice_, Branch(name, {"sliceName": slice_}))
    return here


def kept(element: Json) -> Json:
    """An element without its prose."""
    said = {key: value for key, value in element.items() if key in KEPT or key.startswith(VALUES)}
    if "constraint" in said:
        said["constraint"] = [{key: each[key] for key in CONSTRAINT if key in each} for each in said["constraint"]]
    if "binding" in said:
        said["binding"] = {key: value for key, value in said["binding"].items() if key != "description"}
    return said


def _flat(branch: Branch, path: str, id_: str) -> Iterator[Json]:
    yield {"id": id_, "path": path, **branch.element}
    for name, each in branch.children.items():
        yield from _flat(each, f"{path}.{name}", f"{id_}.{name}")
    for name in _in_order(branch.slices):
        yield from _flat(branch.slices[name], path, f"{id_}:{name}")


def _in_order(names: Iterable[str]) -> list[str]:
    """Slices of a slice right behind it."""
    order: list[str] = []
    for name in names:
        whole = name.rpartition("/")[0]
        family = [i for i, each in enumerate(order) if whole and (each == whole or each.startswith(f"{whole}/"))]
        order.insert(family[-1] + 1 if family else len(order), name)
    return order


class _Merge:
    def __init__(self, known: Known, definitions: Definitions) -> None:
        self._known = known
        self._definitions = definitions
        self._left = MOST_ELEMENTS

    def _spend(self, elements: int) -> None:
        self._left -= elements
        if self._left < 0:
            raise TooLarge

    def merge(self, branch: Branch, said: Branch, *, of_slice: bool = False) -> None:
        """Puts what is said of an element, of its parts and of its slices."""
        before = branch.copy() if said.slices else branch
        branch.element = _merged(branch.element, said.element)
        if said.children and not branch.children:
            self._unfold(branch)
        inside = of_slice or "sliceName" in branch.element
        for name, child in said.children.items():
            whole, type_ = self._child(branch, name)
            if type_ is None:
                self.merge(whole, child, of_slice=inside)
            elif inside and "slicing" not in whole.element:
                whole.element["type"] = _only(whole, type_)
                self.merge(whole, child, of_slice=True)
            else:
                self._typed(whole, child, type_, alone=branch.name == "Extension")
        for name, each in said.slices.items():
            self._slice_rules(branch)
            part = _slice(branch, name, before)
            self._spend(part.size())
            self.merge(part, each, of_slice=inside)

    def _typed(self, whole: Branch, said: Branch, type_: str, *, alone: bool) -> None:
        """`valueQuantity` is the slice of value[x] of that type; where it must be there, nothing else can be.

        https://hl7.org/fhir/R4/profiling.html#slicing
        """
        only = _only(whole, type_)
        alone = "slicing" not in whole.element and (alone or bool(said.element.get("min")))
        part = _slice(whole, said.name, whole.copy())
        self._spend(part.size())
        _type_slicing(whole)
        part.element["type"] = only
        self.merge(part, said)
        if alone:
            whole.element |= {"min": part.element["min"], "type": only}
            whole.element["slicing"] = whole.element["slicing"] | {"rules": "closed"}

    def _child(self, branch: Branch, name: str) -> tuple[Branch, str | None]:
        """A child by its name, and the type where the name is of a choice with its type."""
        if name in branch.children:
            return branch.children[name], None
        if f"{name}[x]" in branch.children:
            return branch.children[f"{name}[x]"], None
        for known, child in branch.children.items():
            bare = _bare(known)
            if known != bare and name.startswith(bare):
                for each in child.element.get("type", ()):
                    code: str = each["code"]
                    if bare + code[:1].upper() + code[1:] == name:
                        return child, code
        return branch.children.setdefault(name, Branch(name)), None

    @staticmethod
    def _slice_rules(branch: Branch) -> None:
        """What slices an element where nothing is said: extensions by url, choices by type."""
        if "slicing" in branch.element:
            return
        if branch.name in ("extension", "modifierExtension"):
            branch.element["slicing"] = _rules("value", "url")
        elif branch.name.endswith("[x]"):
            _type_slicing(branch)

    def _unfold(self, branch: Branch) -> None:
        """The parts of an element, from what its type says."""
        branch.children = self._parts(branch)
        self._spend(branch.size())

    def _parts(self, branch: Branch) -> dict[str, Branch]:
        element = branch.element
        if reference := element.get("contentReference"):
            path = reference.rpartition("#")[2]
            inner = outline(_type_elements(path, path, self._definitions)) if path in self._definitions.types else None
            return _below(inner, path) if inner else {}
        types = element.get("type", ())
        if len(types) == 1 and len(profiles := types[0].get("profile", ())) == 1:
            elements = self._known(profiles[0])
            if elements is not None:
                return outline(elements).children
        code = types[0]["code"] if len(types) == 1 else "Element"
        if code in self._definitions.types:
            primitive = self._definitions.primitive(code)
            return outline(type_elements("Element" if primitive else code, self._definitions)).children
        return {}


def _below(inner: Branch, path: str) -> dict[str, Branch]:
    for name in path.split(".")[1:]:
        inner = inner.children[name]
    return inner.children


def _only(whole: Branch, type_: str) -> list[Json]:
    return [each for each in whole.element.get("type", ()) if each["code"] == type_]


def _slice(whole: Branch, name: str, before: Branch) -> Branch:
    """A slice by its name; a new one is as what it slices was in the base, and may be left out."""
    if name not in whole.slices:
        origin = whole.slices.get(name.rpartition("/")[0], before)
        part = origin.copy()
        part.slices = {}
        part.element.pop("slicing", None)
        part.element |= {"sliceName": name, "min": 0}
        whole.slices[name] = part
    return whole.slices[name]


def _type_slicing(branch: Branch) -> None:
    branch.element.setdefault("slicing", _rules("type", "$this"))


def _rules(kind: str, path: str) -> Json:
    return {"discriminator": [{"type": kind, "path": path}], "ordered": False, "rules": "open"}


def _merged(base: Json, said: Json) -> Json:
    merged = base | said
    if "constraint" in base and "constraint" in said:
        keys = {each["key"] for each in said["constraint"]}
        merged["constraint"] = [each for each in base["constraint"] if each["key"] not in keys] + said["constraint"]
    if "binding" in base and "binding" in said:
        merged["binding"] = base["binding"] | said["binding"]
    return merged
