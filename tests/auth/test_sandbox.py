"""The log-ins that a sandbox says at each start, whatever was stored since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from brief import briefly

from fhirserver import sandbox
from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR
from fhirserver.interactions.load import load
from fhirserver.settings import Settings

if TYPE_CHECKING:
    from conftest import Serve


def pulse(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "Pulse"}, **more}


def of(patient: str) -> dict[str, Any]:
    return {"subject": {"reference": patient}}


async def started(settings: Settings, *resources: dict[str, Any]) -> list[sandbox.Login]:
    async with contexts(settings) as found:
        ctx = replace(found[""], caller=OPERATOR)
        assert not (await load(ctx, resources)).failed
        return await sandbox.furnish(ctx)


def test_who_logs_in_is_a_patient_of_this_record(serve: Serve) -> None:
    settings = serve(open=False, demo=1).settings
    nobodys = [pulse(f"nobody-{number}") for number in range(3)]
    elsewhere = [pulse(f"far-{number}", **of("http://elsewhere.org/Patient/p")) for number in range(3)]
    assert [login.role for login in briefly(started(settings, *nobodys, *elsewhere))] == ["admin"]
    ada = {"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}]}
    logins = briefly(started(settings, ada, pulse("hers", **of("Patient/ada"))))
    assert [login.role for login in logins] == ["patient", "admin"]
    others = [pulse(f"other-{number}", **of("Patient/alan")) for number in range(3)]
    assert briefly(started(settings, {"resourceType": "Patient", "id": "alan"}, *others)) == logins
