"""What a database holds after the crashes, read over HTTP, against what was acknowledged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
from writers import ENTRIES, SYSTEM, Ledger, Resource, Version

TYPES = ("Patient", "Observation", "Device")


@dataclass(frozen=True)
class Verdict:
    """All lists are empty when every promise was kept."""

    acknowledged: int
    transactions: int
    answers: Counter[str]
    lost: list[Version] = field(default_factory=list)  # acknowledged, and not there or not as it was written
    half_applied: list[str] = field(default_factory=list)  # tags of transactions of which only a part is there
    astray: list[str] = field(default_factory=list)  # tags of Observations that do not name their own Patient
    broken_histories: list[str] = field(default_factory=list)  # not versions n…1, once each
    not_found: list[str] = field(default_factory=list)  # current, and a search does not say so
    doubled: list[str] = field(default_factory=list)  # conditions under which more than one was created

    @property
    def clean(self) -> bool:
        return not (
            self.lost or self.half_applied or self.astray or self.broken_histories or self.not_found or self.doubled
        )

    def __str__(self) -> str:
        figures = {
            "acknowledged writes": self.acknowledged,
            "transactions": self.transactions,
            "lost": len(self.lost),
            "half-applied": len(self.half_applied),
            "astray": len(self.astray),
            "broken histories": len(self.broken_histories),
            "not found": len(self.not_found),
            "doubled": len(self.doubled),
            "answers": dict(self.answers),
        }
        return ", ".join(f"{name} {value}" for name, value in figures.items())


def verdict(base: str, ledger: Ledger) -> Verdict:
    with httpx.Client(timeout=60) as http:
        held = {type_: list(_history(http, f"{base}/{type_}/_history?_count=500")) for type_ in TYPES}
        devices = {v.id for v, _ in held["Device"]}
        single = {id_: [v for v, _ in _history(http, f"{base}/Device/{id_}/_history?_count=50")] for id_ in devices}
        everything = [row for rows in held.values() for row in rows]
        tags = {version: _tag(resource) for version, resource in everything}
        return Verdict(
            acknowledged=len(ledger.acknowledged),
            transactions=len(ledger.transactions),
            answers=ledger.answers,
            lost=[v for v, tag in ledger.acknowledged.items() if not _kept(tags.get(v), tag)],
            half_applied=_half_applied(tags),
            astray=_astray(everything),
            broken_histories=_broken([v for v, _ in everything]) + [id_ for v in single.values() for id_ in _broken(v)],
            not_found=_not_found(http, base, everything),
            doubled=_doubled(everything),
        )


def _history(http: httpx.Client, url: str | None) -> Iterator[tuple[Version, Resource]]:
    while url:
        answer = http.get(url)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for entry in page.get("entry", ()):
            resource = entry["resource"]
            yield Version(resource["resourceType"], resource["id"], int(resource["meta"]["versionId"])), resource
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)


def _tag(resource: Resource) -> str:
    return str(resource["meta"]["tag"][0]["code"])


def _kept(found: str | None, acknowledged: str) -> bool:
    """A conditional create may be answered with what an earlier attempt wrote."""
    return found == acknowledged or (
        found is not None and found.startswith("once-") and acknowledged.startswith("once-")
    )


def _half_applied(tags: dict[Version, str]) -> list[str]:
    counts = Counter(tag for tag in tags.values() if tag.startswith("tx-"))
    return [tag for tag, count in counts.items() if count != ENTRIES]


def _astray(everything: list[tuple[Version, Resource]]) -> list[str]:
    patients = {_tag(r): f"Patient/{v.id}" for v, r in everything if v.type == "Patient"}
    observations = [(_tag(r), r["subject"]["reference"]) for v, r in everything if v.type == "Observation"]
    return [tag for tag, subject in observations if patients.get(tag) != subject]


def _broken(versions: list[Version]) -> list[str]:
    """Ids whose versions are not n, n-1, … 1, newest first and once each."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for version in versions:
        numbers[version.type, version.id].append(version.number)
    return [f"{t}/{id_}: {found}" for (t, id_), found in numbers.items() if found != list(range(len(found), 0, -1))]


def _not_found(http: httpx.Client, base: str, everything: list[tuple[Version, Resource]]) -> list[str]:
    """The search for a tag finds the resources whose current version carries it; a sample of them."""
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for version, resource in everything:
        newest[version[:2]] = max(newest.get(version[:2], (0, "")), (version.number, _tag(resource)))
    expected: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (type_, id_), (_, tag) in newest.items():
        expected[type_, tag].add(id_)
    wrong = []
    sample = sorted(expected)
    for type_, tag in sample[:: max(1, len(sample) // 100)]:
        answer = http.get(f"{base}/{type_}", params={"_tag": f"{SYSTEM}|{tag}"})
        assert answer.status_code == 200, answer.text
        if {entry["resource"]["id"] for entry in answer.json().get("entry", ())} != expected[type_, tag]:
            wrong.append(f"{type_}?_tag={tag}")
    return wrong


def _doubled(everything: list[tuple[Version, Resource]]) -> list[str]:
    holders: dict[str, set[str]] = defaultdict(set)
    for version, resource in everything:
        for identifier in resource.get("identifier", ()):
            holders[identifier["value"]].add(version.id)
    return [value for value, ids in holders.items() if len(ids) > 1]
