"""An app is opened about a patient by who is logged in: what an EHR does with a button, as a page of ours.

https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
"""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from smart_auth import clients, launches, visits
from smart_auth.refusal import NO_STORE, Refused
from smart_auth.visits import Visit


async def _offer(visit: Visit, refused: Refused | None) -> Response:
    """GET /open: the apps that can be opened, and the patients that are found by `text`."""
    user, text = visit.person().user, visit.text("text", 100)
    apps = [each for each in await clients.listed(visit.auth) if each.launch_uri]
    chosen = visit.text("client_id", 100) or (apps[0].id if apps else "")
    found = await visit.auth.choices.found(user, text) if user.looks_up and text else ()
    own = await visit.auth.choices.own(user)
    shown = {"apps": apps, "chosen": chosen, "found": found, "own": own, "text": text, "searches": user.looks_up}
    return visit.page("open", refused, leads_away=True, **shown)


async def _open(visit: Visit) -> Response:
    """POST /open: the browser goes to the app, with a launch that waits for it."""
    user = visit.person().user
    client, patient = visit.text("client_id", 100, needed=True), visit.text("patient", 64, needed=True)
    if await visit.auth.choices.patient(user, patient) is None:
        raise Refused("access_denied", "this patient is not among those whose record you may open", 403)
    launch = await launches.begin(visit.auth, user.id, launches.checked({"patient": patient}), client)
    opened = await launches.opened(visit.auth, launch, client)
    await launches.tell(visit.auth, user, patient, client)
    return RedirectResponse(opened["url"], 303, NO_STORE)


ROUTES: dict[str, dict[str, visits.Handler]] = {
    "/open": {"GET": visits.shown(_offer), "POST": visits.submitted(_open, _offer)},
}
