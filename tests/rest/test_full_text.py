"""_text and _content: words, phrases and beginnings, ranked. https://hl7.org/fhir/R4/search.html#content"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.fhir.definitions import r4
from fhirserver.search.words import BREAK, Reader, words

if TYPE_CHECKING:
    from conftest import Fhir, Serve

STRICT = {"Prefer": "handling=strict"}
READER = Reader(r4())


def report(id_: str, text: str, narrative: str = "", **more: Any) -> dict[str, Any]:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{narrative}</div>'
    told = {"text": {"status": "generated", "div": div}} if narrative else {}
    return {"resourceType": "DiagnosticReport", "id": id_, "status": "final", "code": {"text": text}, **told, **more}


REPORTS = (
    report("a", "Bone scan", "<p>Multiple <b>metast</b>ases in the bone.</p>", conclusion="metastases of bone"),
    report("b", "Liver ultrasound", "<p>A metastasis is suspected.</p>", conclusion="Liver: no metastases"),
    report("c", "Echocardiogram", "<p>Heart failure</p>", conclusion="heart failure, reduced ejection fraction"),
    report("d", "Echocardiogram", "<p>failure of the valve; heart normal</p>", conclusion="Ménière excluded"),
    report("e", "Liver and bone", "<table><tr><td>liver</td><td>bone</td></tr></table>"),
    report("f", "糖尿病患者", "<p>Größe: STRAßE</p>", conclusion="beta-blocker 5.4 mg"),
    report("g", "Plain", subject={"reference": "Patient/p", "display": "Ada Lovelace"}),
    report("h", "Spine x-ray", conclusion="nothing or not"),
)


@pytest.fixture(scope="module")
def reports(serve: Serve) -> Fhir:
    fhir = serve().client
    assert fhir.put("Patient/p", {"resourceType": "Patient", "id": "p", "name": [{"text": "Ada"}]}).status_code == 201
    for each in REPORTS:
        assert fhir.put(f"DiagnosticReport/{each['id']}", each).status_code == 201
    return fhir


FOUND = [
    ("_content", "metastases", "ab"),
    ("_content", "METASTASES", "ab"),
    ("_content", "metastasis", "b"),
    ("_content", "metast*", "ab"),
    ("_content", "meta", ""),
    ("_content", "bone", "ae"),
    ("_content", "bone liver", "e"),
    ("_content", "bone and liver", "e"),
    ("_content", "bone AND liver", "e"),
    ("_content", "bone or liver", "abe"),
    ("_content", "bone,liver", "abe"),
    ("_content", "(bone OR liver) and metastases", "ab"),
    ("_content", "bone or liver metastases", "abe"),
    ("_content", "bone or (liver metastases)", "abe"),
    ("_content", "(bone or liver) -metastases", "e"),
    ("_content", "liver not metastases", "e"),
    ("_content", "liver and not metastases", "e"),
    ("_content", "liver -(metastases or suspected)", "e"),
    ("_content", "-liver -bone -echocardiogram", "fgh"),
    ("_content", "not (liver or bone or echocardiogram)", "fgh"),
    ("_content", "--liver", "be"),
    ("_content", "heart failure", "cd"),
    ("_content", '"heart failure"', "c"),
    ("_content", '"failure heart"', ""),
    ("_content", 'echocardiogram -"heart failure"', "d"),
    ("_content", '-"heart failure" heart', "d"),
    ("_content", '"heart fail*"', "c"),
    ("_content", '"heart, failure"', "c"),
    ("_content", '"bone liver" or "liver bone"', ""),
    ("_content", '"liver and bone"', "e"),
    ("_content", "reduced ejec* frac*", "c"),
    ("_content", "meniere", "d"),
    ("_content", "MÉNIÈRE", "d"),
    ("_content", "grosse", "f"),
    ("_content", "strasse", "f"),
    ("_content", "糖尿病", "f"),
    ("_content", "尿病患", "f"),
    ("_content", "病尿", ""),
    ("_content", "beta-blocker", "f"),
    ("_content", "blocker-beta", ""),
    ("_content", "5.4", "f"),
    ("_content", "4.5", ""),
    ("_content", "ada", "g"),
    ("_content", "final", ""),
    ("_content", "Patient", ""),
    ("_content", '"or"', "h"),
    ("_content", '"not" nothing', "h"),
    ("_content", "x-ray & spine", "h"),
    ("_content", "plain lovelace", "g"),
    ("_text", "metastases", "a"),
    ("_text", "metastasis", "b"),
    ("_text", "liver", "e"),
    ("_text", "heart", "cd"),
    ("_text", "heart and ejection", ""),
    ("_text", "liver bone", "e"),
    ("_text", '"liver bone"', ""),
    ("_text", "stra*", "f"),
    ("_text", "-heart", "abefgh"),
    ("_text:missing", "true", "gh"),
    ("_content:missing", "true", ""),
]


@pytest.mark.parametrize(("name", "value", "found"), FOUND)
def test_what_is_found(reports: Fhir, name: str, value: str, found: str) -> None:
    answer = reports.get("DiagnosticReport", params={name: value}, headers=STRICT).json()
    assert "".join(sorted(each["resource"]["id"] for each in answer.get("entry", []))) == found
    counted = reports.get("DiagnosticReport", params={name: value, "_summary": "count"}, headers=STRICT).json()
    assert answer["total"] == counted["total"] == len(found)


TOGETHER = [
    ("DiagnosticReport?_content=heart&_text=valve", "d"),
    ("DiagnosticReport?_content=liver&_content=bone", "e"),
    ("DiagnosticReport?_content=bone&_id=a,b", "a"),
    ("DiagnosticReport?_content=liver&_lastUpdated=ge2020", "be"),
    ("DiagnosticReport?subject:Patient._content=ada", "g"),
    ("DiagnosticReport?_filter=_content co \"heart failure\" or _text co valve", "cd"),
    ("Patient?_has:DiagnosticReport:subject:_content=plain", "p"),
    ("Patient?_has:DiagnosticReport:subject:_content=heart", ""),
    ("Patient/p/DiagnosticReport?_content=lovelace", "g"),
    ("?_type=DiagnosticReport,Patient&_content=ada", "gp"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "found"), TOGETHER)
def test_words_go_with_everything_else(reports: Fhir, query: str, found: str) -> None:
    assert "".join(sorted(reports.ids(query, headers=STRICT))) == found


REFUSED = [
    ("(bone", "at character 6: it ends where ')' is expected"),
    ("bone)", "at character 5: ')' stands where a word is expected"),
    ("bone or", "at character 8: it ends where a word is expected"),
    ("or bone", "at character 1: 'or' stands where a word is expected"),
    ("bone and or liver", "at character 10: 'or' stands where a word is expected"),
    ("bone,,liver", "at character 6: ',' stands where a word is expected"),
    ("bone,", "at character 6: it ends where a word is expected"),
    ("not", "at character 4: it ends where a word is expected"),
    ("()", "at character 2: ')' stands where a word is expected"),
    ('bone "liver', "at character 6: the phrase does not end; '\"' is expected"),
    ('bone ""', 'at character 6: "" has no letter or digit'),
    ("&&", "at character 3: it ends where a word is expected"),
    ("b*ne", "at character 2: '*' stands at the end of a word or phrase only"),
    ("*bone", "at character 1: '*' stands at the end of a word or phrase only"),
    ("(" * 30 + "a" + ")" * 30, "nested more than 20 levels deep"),
    ("-" * 30 + "a", "nested more than 20 levels deep"),
    (" ".join(["a"] * 101), "at most 100 words and phrases"),
    ("a" * 5000, "a value has at most 4096 characters"),
]


@pytest.mark.parametrize(("value", "sentence"), REFUSED)
def test_what_cannot_be_read_is_refused_at_its_place(reports: Fhir, value: str, sentence: str) -> None:
    answer = reports.get("DiagnosticReport", params={"_content": value})
    assert answer.status_code == 400
    assert sentence in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("query", ["_sort=_score", "_sort=_content&_content=a", "_sort=-_score&code=x"])
def test_an_order_that_does_not_exist_is_refused(reports: Fhir, query: str) -> None:
    assert reports.get(f"DiagnosticReport?{query}").status_code == 400


def test_the_most_relevant_comes_first_with_a_score_from_0_to_1(reports: Fhir) -> None:
    entries = reports.bundle("DiagnosticReport?_content=metastases")["entry"]
    assert [entry["resource"]["id"] for entry in entries] == ["a", "b"]
    first, second = (entry["search"]["score"] for entry in entries)
    assert 1 > first > second > 0
    assert reports.ids("DiagnosticReport?_content=metastases&_sort=-_score") == ["a", "b"]
    assert reports.ids("DiagnosticReport?_content=metastases&_sort=_score") == ["b", "a"]
    assert reports.ids("DiagnosticReport?_content=metastases&_sort=-_id") == ["b", "a"]
    assert reports.ids("DiagnosticReport?_content=metastases&_sort=status,-_score") == ["a", "b"]


def test_without_a_ranking_there_is_no_score(reports: Fhir) -> None:
    for query in ("_content=-bone", "_content=bone&_sort=_id", "code=x", "_content:missing=false"):
        assert all(
            "score" not in entry["search"] for entry in reports.bundle(f"DiagnosticReport?{query}").get("entry", ())
        )


def test_an_update_changes_what_is_found(serve: Serve) -> None:
    fhir = serve().client
    fhir.put("DiagnosticReport/x", report("x", "before"))
    assert fhir.ids("DiagnosticReport?_content=before") == ["x"]
    fhir.put("DiagnosticReport/x", report("x", "after"))
    assert fhir.ids("DiagnosticReport?_content=before") == []
    assert fhir.ids("DiagnosticReport?_content=after") == ["x"]
    fhir.delete("DiagnosticReport/x")
    assert fhir.ids("DiagnosticReport?_content=after") == []


def test_a_server_may_leave_words_out(serve: Serve) -> None:
    fhir = serve(full_text=False).client
    fhir.put("DiagnosticReport/x", report("x", "bone"))
    for name in ("_content", "_text"):
        answer = fhir.get(f"DiagnosticReport?{name}=bone", headers=STRICT)
        assert answer.status_code == 400
        assert f"{name} is not a search parameter" in answer.json()["issue"][0]["diagnostics"]
        listed = fhir.get("metadata").json()["rest"][0]
        assert all(p["name"] != name for p in listed["searchParam"])
        assert all(p["name"] != name for each in listed["resource"] for p in each["searchParam"])


def test_a_search_in_a_batch_and_in_a_transaction(reports: Fhir) -> None:
    for type_ in ("batch", "transaction"):
        request = {"method": "GET", "url": "DiagnosticReport?_content=metastases"}
        bundle = {"resourceType": "Bundle", "type": type_, "entry": [{"request": request}]}
        (entry,) = reports.post("", bundle).json()["entry"]
        assert [each["resource"]["id"] for each in entry["resource"]["entry"]] == ["a", "b"]


# laws, on random resources and random searches

VOCABULARY = ("heart", "failure", "bone", "liver", "scan", "heartburn", "Herz", "café")
CASES = 120


def sentence(rng: random.Random, most: int) -> str:
    return " ".join(rng.choice(VOCABULARY) for _ in range(rng.randint(1, most)))


@pytest.fixture(scope="module")
def random_reports(serve: Serve) -> tuple[Fhir, dict[str, dict[str, Any]]]:
    fhir, rng = serve(max_count=1000).client, random.Random(3)
    resources = {}
    for number in range(CASES):
        told = f"<p>{sentence(rng, 4)}</p><p>{sentence(rng, 3)}</p>" if number % 3 else ""
        resources[f"r{number}"] = report(f"r{number}", sentence(rng, 3), told, conclusion=sentence(rng, 9))
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"DiagnosticReport/{id_}"}}
        for id_, each in resources.items()
    ]
    answer = fhir.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    return fhir, resources


Tree = tuple[Any, ...]
phrases = st.one_of(
    st.sampled_from(VOCABULARY).map(lambda word: ("phrase", [word], False)),
    st.sampled_from(["he", "hear", "caf", "b", "sc"]).map(lambda word: ("phrase", [word], True)),
    st.lists(st.sampled_from(VOCABULARY), min_size=2, max_size=3).map(lambda said: ("phrase", said, False)),
    st.sampled_from(["he", "bo"]).map(lambda word: ("phrase", ["bone", word], True)),
)
trees = st.recursive(
    phrases,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("and", *parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("or", *parts)),
        inner.map(lambda part: ("not", part)),
    ),
    max_leaves=5,
)


def written(tree: Tree) -> str:
    match tree:
        case ("phrase", [word], prefix):
            return str(word) + "*" * prefix
        case ("phrase", said, prefix):
            return f'"{" ".join(said)}{"*" * prefix}"'
        case ("not", part):
            return f"-({written(part)})"
        case (word, *parts):
            return f"({f' {word} '.join(map(written, parts))})"
    raise AssertionError(tree)


def times(said: list[str], wanted: list[str], prefix: bool) -> int:
    """Naively: at each place, each word."""
    folded = [words(word)[0] for word in wanted]
    found = 0
    for at in range(len(said)):
        here = said[at : at + len(folded)]
        last = len(here) == len(folded) and (here[-1].startswith(folded[-1]) if prefix else here[-1] == folded[-1])
        found += last and here[:-1] == folded[:-1]
    return found


def meets(said: list[str], tree: Tree) -> bool:
    match tree:
        case ("phrase", wanted, prefix):
            return times(said, wanted, prefix) > 0
        case ("not", part):
            return not meets(said, part)
        case ("and", *parts):
            return all(meets(said, part) for part in parts)
        case (_, *parts):
            return any(meets(said, part) for part in parts)
    raise AssertionError(tree)


def sought(tree: Tree) -> list[Tree]:
    match tree:
        case ("phrase", *_):
            return [tree]
        case ("not", _):
            return []
        case (_, *parts):
            return [phrase for part in parts for phrase in sought(part)]
    raise AssertionError(tree)


def relevance(said: list[str], tree: Tree) -> float:
    counts = [times(said, wanted, prefix) for _, wanted, prefix in sought(tree)]
    return sum(n / (n + 0.3 + 0.9 * len(said) / 50) for n in counts) / len(counts)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees, st.sampled_from(["_content", "_text"]))
def test_what_is_found_is_what_a_naive_search_finds(
    random_reports: tuple[Fhir, dict[str, dict[str, Any]]], tree: Tree, name: str
) -> None:
    fhir, resources = random_reports
    said = {id_: READER.said(each) for id_, each in resources.items()}
    known = {id_: each.content if name == "_content" else each.text for id_, each in said.items()}
    answer = fhir.get("DiagnosticReport", params={name: written(tree), "_count": 1000}, headers=STRICT)
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    found = [entry["resource"]["id"] for entry in entries]
    assert sorted(found) == sorted(id_ for id_, each in known.items() if meets(each, tree))
    if sought(tree):
        scores = [entry["search"]["score"] for entry in entries]
        assert scores == pytest.approx([relevance(known[id_], tree) for id_ in found], abs=2e-6)
        assert scores == sorted(scores, reverse=True)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees, st.integers(1, 17), st.sampled_from(["", "-_score", "_score", "status,-_score"]))
def test_pages_by_score_neither_repeat_nor_skip(
    random_reports: tuple[Fhir, dict[str, dict[str, Any]]], tree: Tree, count: int, order: str
) -> None:
    fhir, _ = random_reports
    order = order if sought(tree) else ""
    asked = {"_content": written(tree)} | ({"_sort": order} if order else {})
    whole = [
        e["resource"]["id"]
        for e in fhir.get("DiagnosticReport", params={**asked, "_count": 1000}).json().get("entry", [])
    ]
    page = fhir.get("DiagnosticReport", params={**asked, "_count": count, "_total": "accurate"}).json()
    assert page["total"] == len(whole)
    pages = [page]
    while following := [link["url"] for link in page["link"] if link["relation"] == "next"]:
        page = fhir.get(following[0]).json()
        pages.append(page)
    ids = [[each["resource"]["id"] for each in each_page.get("entry", [])] for each_page in pages]
    assert [id_ for each in ids for id_ in each] == whole
    for number in range(len(pages) - 1, 0, -1):
        (back,) = [link["url"] for link in page["link"] if link["relation"] == "previous"]
        page = fhir.get(back).json()
        assert [each["resource"]["id"] for each in page["entry"]] == ids[number - 1]


def test_writes_between_pages_change_no_score(serve: Serve) -> None:
    """What is written in between is not before what was shown, and takes nothing away."""
    fhir = serve().client
    for number in range(12):
        fhir.put(f"DiagnosticReport/n{number:02}", report(f"n{number:02}", "heart " * (number % 4 + 1)))
    whole = fhir.ids("DiagnosticReport?_content=heart&_count=100")
    page = fhir.bundle("DiagnosticReport?_content=heart&_count=5")
    seen = [entry["resource"]["id"] for entry in page["entry"]]
    for number in range(30):
        fhir.put(f"DiagnosticReport/z{number:02}", report(f"z{number:02}", "heart " * 5))
    fhir.delete(f"DiagnosticReport/{whole[6]}")
    while following := [link["url"] for link in page["link"] if link["relation"] == "next"]:
        page = fhir.bundle(following[0])
        seen += [entry["resource"]["id"] for entry in page["entry"]]
    assert seen == [id_ for at, id_ in enumerate(whole) if at != 6]


garbage = st.text(st.sampled_from('ab*"()-,\\&or nt+é糖$[]{}.:|\t'), max_size=30) | st.text(max_size=30)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage, st.sampled_from(["_content", "_text"]))
def test_no_text_breaks_the_server(reports: Fhir, text: str, name: str) -> None:
    answer = reports.get("DiagnosticReport", params={name: text})
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["issue"][0]["diagnostics"].startswith(f"{name}: ")


def test_no_phrase_goes_over_the_end_of_a_text() -> None:
    said = READER.said(report("x", "bone", conclusion="scan"))
    assert said.content == ["bone", BREAK, "scan"]
