"""Every read of what is stored is known, and known to ask the law. A new one is entered here, with why it may.

The names are those of functions that ask the store; what they may give a caller is tried by `paths.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent / "fhirserver"
ROOMS = ("interactions", "operations", "access", "rest")
METHODS = {
    "read",
    "read_many",
    "read_stored",
    "vread",
    "find",
    "find_beside",
    "find_stored",
    "aggregate",
    "count",
}  # of a Store
FUNCTIONS = {
    *(
        "ended",
        "estimate",
        "history_of_one",
        "matching_definitions",
        "matching_ids",
        "newest_of_one",
        "numbers_of",
        "record",
    ),
    *("records", "referred", "referred_ids", "referred_urls", "values_of", "versions"),
}

RESTRICTED = "its filter is that of a query which `restrict` narrowed"
JUDGED = "what it gives is judged by `sight` or `lawful` before anybody sees it"
LAW = "it is the law that asks, to know what may be seen"
KNOWLEDGE = "definitions are about nobody"
OPERATOR = "for who runs the server"
PLAN = "it decides how to search; what is found is restricted"

KNOWN = {
    "interactions/cared_for.py": ({"patients_of"}, LAW),
    "interactions/entrusted.py": ({"_related", "_consented"}, LAW),
    "interactions/choosing.py": ({"missing"}, "administrators ask whether what they link an account to is there"),
    "interactions/conditions.py": ({"matches"}, RESTRICTED),
    "interactions/consenting.py": ({"_kept_documents", "_withheld"}, LAW),
    "interactions/contents.py": ({"holding", "ended_by_now", "securing", "_records_with"}, LAW),
    "interactions/histories.py": ({"_of_instance", "_of_one", "_of_types", "ask"}, JUDGED),
    "interactions/in_force.py": ({"_memberships"}, LAW),
    "interactions/integrity.py": ({"check_references", "check_unreferenced"}, JUDGED),
    "interactions/lawful.py": ({"_check_named"}, LAW),
    "interactions/lists.py": ({"listed"}, RESTRICTED),
    "interactions/hierarchies.py": ({"_below", "_above"}, RESTRICTED),
    "interactions/load.py": ({"_write_batch", "_one_by_one"}, OPERATOR),
    "interactions/referred.py": ({"named_by", "_values", "_withheld"}, LAW),
    "interactions/memberships.py": ({"work_of", "teams_of"}, LAW),
    "interactions/profiles.py": ({"_active"}, KNOWLEDGE),
    "interactions/reindex.py": ({"again"}, OPERATOR),
    "interactions/chains.py": ({"references", "referred_by", "naming", "named_from"}, RESTRICTED),
    "interactions/resolve.py": ({"_containing", "_checked", "_leads_inside"}, PLAN),
    "interactions/pages.py": ({"_rows"}, RESTRICTED),
    "interactions/search.py": ({"_total", "_count", "_included"}, RESTRICTED),
    "interactions/sight.py": ({"_found", "_read", "seen_now", "_matching"}, JUDGED),
    "interactions/terminology.py": ({"_implied", "_rows", "known_systems", "maps", "read"}, KNOWLEDGE),
    "interactions/write.py": ({"updated_id"}, JUDGED),
    "operations/break_glass.py": (
        {"open_record"},
        "practitioners ask whether there is a patient, and say why",
    ),
    "operations/everything.py": ({"everything", "everything_of_all", "_referred", "_released"}, RESTRICTED),
    "operations/lastn.py": ({"lastn", "_rows", "_texts"}, RESTRICTED),
    "operations/reindex.py": ({"reindex_one"}, OPERATOR),
    "operations/series.py": ({"series", "_points"}, RESTRICTED),
    "operations/stats.py": ({"stats", "_members", "_results", "_rows"}, RESTRICTED),
}


def reads(source: str) -> Iterator[str]:
    """The functions that ask the store, the innermost ones that have a name."""

    def walk(node: ast.AST, within: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            if asks(child):
                yield within
            yield from walk(child, child.name if named else within)

    yield from walk(ast.parse(source), "")


def asks(node: ast.AST) -> bool:
    """`ctx.store.read(…)`, `matching_ids(ctx.store, …)`, `partial(history_of_one, ctx.store, …)`"""
    if isinstance(node, ast.Attribute):
        return node.attr in METHODS and is_store(node.value)
    if isinstance(node, ast.Call):
        names = {each.id for each in (node.func, *node.args) if isinstance(each, ast.Name)}
        return not names.isdisjoint(FUNCTIONS) and any(map(is_store, node.args))
    return False


def is_store(node: ast.AST) -> bool:
    return ast.unparse(node).rpartition(".")[2] == "store"


def found() -> dict[str, set[str]]:
    each = {}
    for path in sorted(path for room in ROOMS for path in (HOUSE / room).rglob("*.py")):
        names = {name for name in reads(path.read_text()) if name}
        if names:
            each[str(path.relative_to(HOUSE))] = names
    return each


def test_every_read_of_what_is_stored_is_known() -> None:
    known: dict[str, set[str]] = {}
    for place, (names, why) in KNOWN.items():
        assert why
        known.setdefault(place.strip(), set()).update(names)
    assert found() == known


def test_reads_are_found() -> None:
    assert set(reads("async def a(ctx):\n    await ctx.store.read('x', 'y')\n")) == {"a"}
    assert set(reads("async def a(ctx):\n    await matching_ids(ctx.store, 'x', {}, 1)\n")) == {"a"}
    assert not set(reads("async def a(ctx):\n    await body.read(1)\n"))
