"""Random requests of a caller in three worlds: what is hidden from it is not there, is there, and is there as it may be
at another time. Status, headers and body are the same in all three, so nothing hidden can be learned; nor by how long
it takes, for the database is asked the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from changing import BASE, Changing
from houses import ASKERS, FILLER, WORKING, House
from paths import Path
from record import OTHERS, OWN, SECRET, SHARED, Resource, pulse
from seam import person
from worlds import Commands, Same, Told, World, told

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

EXAMPLES = int(os.environ.get("HEALTHMATE_FUZZ_EXAMPLES", "10000"))
# That somebody has had resources of a type is not of anybody: all worlds have, and all have got rid of them.
ONE_OF_EACH = {each["resourceType"]: each for each in (*SHARED, *WORKING, *OWN, *OTHERS)}.values()
READS, AGAIN = ("GET", "HEAD"), 3
# that go on below a version, current or earlier, or ask what followed one
HISTORIES = ('"version": {"$lt": ', '"_id": {"$lt": {"id": ', '"_id": {"$in": …}, "updated": {"$lte": ')
GOING_ON = (*HISTORIES, '"filter": {"_id": {"$in": …}}')
RESTORED = 100  # requests, after which what is seen is put back


# Of each caller. A house takes longer to start than a short run of requests, so that leaves out those like others.
ALIKE = ("organization", "proxy-of-two", "proxy-under-consents", "app-under-consents")
RUNS = [
    *(pytest.param(name, 25, id=f"short-{name}") for name in ASKERS if name not in ALIKE),
    *(pytest.param(name, -(-EXAMPLES // len(ASKERS)), id=f"long-{name}", marks=pytest.mark.fuzz) for name in ASKERS),
]


def puts(resources: Iterable[Resource]) -> list[Resource]:
    return [
        {"request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}, "resource": each}
        for each in resources
    ]


def deletions(resources: Iterable[Resource]) -> list[Resource]:
    return [{"request": {"method": "DELETE", "url": f"{each['resourceType']}/{each['id']}"}} for each in resources]


def transaction(fhir: Fhir, entries: list[Resource]) -> None:
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = fhir.post("", body, headers={"X-Request-Id": "filled"})
    assert answer.status_code == 200, answer.text


class Three:
    """The worlds of a house: without what is hidden, with it, and with it as it changes."""

    def __init__(self, house: House, same: Same, serve: Serve, apps: Apps) -> None:
        self.house, self.same, self.apps = house, same, apps
        self.worlds: list[World] = []
        self._asking: dict[str, list[Fhir]] = {}
        for _ in range(3):
            commands = Commands()
            with commands.listening():
                served = serve(base_url=BASE, secret="that of all", open=False, **house.settings)
            same.again()
            filler = person(served, FILLER, roles=["admin"])
            self.worlds.append(World(served, commands, apps(served, "user/*.cruds", user=filler, client=FILLER)))
        earlier = [each | {"id": "earlier"} for each in ONE_OF_EACH]
        consents = [each for each in house.seen if each["resourceType"] == "Consent"]  # which permit to put labels
        for entries in (puts(earlier), deletions(earlier), *([puts(consents)] if consents else ()), puts(house.seen)):
            self.everywhere(lambda fhir, entries=entries: transaction(fhir, entries))
        for each in self.worlds[1:]:
            transaction(each.open, puts(house.hidden))
            assert each.open.delete("Observation/other-gone").status_code == 204
        self.changed = 0

    def everywhere(self, do: Callable[[Fhir], object]) -> None:
        self.same.next()
        for each in self.worlds:
            self.same.again()
            do(each.open)

    def restore(self) -> None:
        """What is seen, as it was; what is hidden changes in one world."""
        self.everywhere(lambda fhir: transaction(fhir, puts(self.house.seen)))
        fhir = self.worlds[2].open
        self.changed += 1
        fhir.put("Observation/other", pulse("other", "q", 100 + self.changed % 100, note=[{"text": SECRET}]))
        fhir.put(f"Observation/more-{self.changed}", pulse(f"more-{self.changed}", "q", 150, note=[{"text": SECRET}]))
        hidden = self.house.hidden[self.changed % len(self.house.hidden)]
        fhir.delete(f"{hidden['resourceType']}/{hidden['id']}")
        hidden = self.house.hidden[(self.changed + 7) % len(self.house.hidden)]
        fhir.put(f"{hidden['resourceType']}/{hidden['id']}", hidden | {"language": "de"})

    def asking(self, name: str) -> list[Fhir]:
        """The app of a caller, in each world."""
        if name not in self._asking:
            asker = ASKERS[name]
            self._asking[name] = found = []
            self.same.next()
            for each in self.worlds:
                self.same.again()
                who = {} if asker.account is None else {"user": person(each.served, name, **asker.account)}
                found.append(self.apps(each.served, asker.scope, asker.patient, **who))
        return self._asking[name]

    def ask(self, fhirs: list[Fhir], path: Path, number: int) -> list[tuple[Told, list[str]]]:
        self.same.next()
        found = []
        for fhir, world in zip(fhirs, self.worlds, strict=True):
            self.same.again()
            world.commands.told()
            found.append((told(fhir, path, number), world.commands.told()))
        return found


@pytest.fixture(scope="module")
def same() -> Iterator[Same]:
    same = Same()
    with same.held():
        yield same


@pytest.fixture(scope="module")
def three(same: Same, serve: Serve, apps: Apps) -> Callable[[House], Three]:
    made: dict[int, Three] = {}

    def of(house: House) -> Three:
        if id(house) not in made:
            made[id(house)] = Three(house, same, serve, apps)
        return made[id(house)]

    return of


def _begun(commands: Iterable[str]) -> Counter[str]:
    """A history goes on where hidden versions lie between, and reads them (README, limits): all else is compared."""
    return Counter({each for each in commands if not any(part in each for part in GOING_ON)})


def differences(asked: list[str], others: list[str]) -> dict[str, int]:
    """How much oftener a command was given; of a transaction, which a busy database has run again, whether it was."""
    one, other = Counter(asked), Counter(others)
    if any(each.startswith(("abortTransaction", "commitTransaction")) for each in one):
        one, other = Counter({*one}), Counter({*other})
    if any(sign in each for sign in HISTORIES for each in (*one, *other)):
        one, other = _begun(one), _begun(other)
    one.subtract(other)
    return {each: number for each, number in one.items() if number}


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("name", "examples"), RUNS)
def test_nothing_hidden_can_be_learned(three: Callable[[House], Three], name: str, examples: int) -> None:
    worlds, made, shown = three(ASKERS[name].house), list[str](), 0
    fhirs = worlds.asking(name)
    for seed in range(examples):
        if seed % RESTORED == RESTORED - 1:
            worlds.restore()
        path = Changing(seed, made).request()
        alone, *among = worlds.ask(fhirs, path, seed)
        for _ in range(AGAIN):
            if path.method in READS and any(differences(asked, alone[1]) for _, asked in among):
                alone, *among = worlds.ask(
                    fhirs, path, seed
                )  # what was kept was too old for one of them, and read again
        for answer, asked in among:
            assert answer == alone[0], f"seed {seed}: {path}"
            assert differences(asked, alone[1]) == {}, f"seed {seed}: {path}"
        assert alone[0].status < 500, f"seed {seed}: {path}"
        shown += alone[0].status == 200 and "fullUrl" in alone[0].body
        if alone[0].status == 201:
            made.append(dict(alone[0].headers)["location"].removeprefix(f"{BASE}/").partition("/_history")[0])
    assert shown > examples // 50  # else it would say little
