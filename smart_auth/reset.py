"""A new password by a mailed link, for who has none at hand. It logs nobody in, and does not go around the second step.

Whoever had the old password may have left a way in. So a reset ends every session, what apps hold, and what they would
be given without asking; and of the passkeys stay those that the person keeps, who is asked about each. Where they are
the second step that a role has to have, all stay: nobody added one by a password, and nobody gets around it by mail.
https://pages.nist.gov/800-63-4/sp800-63b.html#recovery
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from smart_auth import (
    events,
    links,
    mail,
    notices,
    passkeys,
    passwords,
    sessions,
    steps,
    throttle,
    tokens,
    users,
    visits,
)
from smart_auth.mail import Mail
from smart_auth.refusal import Refused, invalid_request
from smart_auth.server import Auth
from smart_auth.signup import address_confirmed
from smart_auth.visits import Visit


async def _page(visit: Visit, refused: Refused | None) -> Response:
    return visit.page("reset", refused, login=str(visit.fields.get("login", ""))[: users.LONGEST_LOGIN])


async def _ask(visit: Visit) -> Response:
    login = visit.text("login", needed=True)
    address = throttle.origin(visit.auth, visit.request)
    await throttle.admit(visit.auth, throttle.key("mail", throttle.address(visit.auth, visit.request)), throttle.MAILS)
    await throttle.admit(visit.auth, throttle.key("reset", users.folded(login)))
    mail.later(_send(visit.auth, login, address))
    return visit.done({"sent": True}, "/signup/sent")


async def _send(auth: Auth, login: str, address: str) -> None:
    person = await users.by_login(auth, login)
    if person is None or person.email is None or person.disabled:
        return
    link = await links.make(auth, "reset", person.id)
    await events.record(auth, "reset-asked", "", person.id, address=address)
    named = f" {person.name}" if person.verified else ""  # else anybody may have typed it
    text = (
        f"Hello{named},\n\nchoose a new password here:\n\n{link}\n\n"
        "The link is good for 15 minutes and once. If you did not ask for it, do nothing: your password stays.\n"
    )
    mail.post(auth, Mail(person.email, "A new password", text))


async def _new_page(visit: Visit, refused: Refused | None) -> Response:
    """With the passkeys of the account, for who has a link that is good."""
    auth, code, found, stay = visit.auth, visit.text("code", 100), list[passkeys.Listed](), False
    over = await links.over(auth, code, *links.PASSWORD)
    if over is None:
        person = await users.find(auth, (await links.look(auth, code, *links.PASSWORD)).user)
        found = await passkeys.listed(auth, person.id) if person else []
        stay = person is not None and steps.by_passkey_alone(auth, person)
    shown = {"code": code, "over": over is not None, "passkeys": found, "stay": stay, "old": passkeys.before(auth)}
    return visit.page("new_password", refused or over, **shown)


async def _renew(visit: Visit) -> Response:
    visit.only("code", "password", "keep_passkeys")
    auth, code = visit.auth, visit.text("code", 100, needed=True)
    password, keep = visit.text("password", needed=True), _kept(visit)
    person = await users.find(auth, (await links.look(auth, code, *links.PASSWORD)).user)
    await passwords.check_new(auth, password, [person.name, person.login] if person else [])
    hash_ = await passwords.hashed(password)
    user = (await links.claim(auth, code, *links.PASSWORD)).user
    chosen = {"password": hash_, "verified": True}
    confirmed = await users.change(auth, user, chosen, {"verified": False})
    person = confirmed or await users.change(auth, user, chosen)
    await links.drop(auth, user)
    stay = person is not None and steps.by_passkey_alone(auth, person)
    removed = [] if stay else await passkeys.remove_but(auth, user, keep)
    await sessions.end_all(auth, user)
    await tokens.revoke_all(auth, {"user": user}, "new password")
    await auth["approvals"].delete_many({"user": user})
    if person is not None:
        await throttle.proved(auth, throttle.key("account", person.login))
        notices.send(auth, person, "password")
        if removed:
            notices.send(auth, person, "passkey off")
    await events.record(auth, "password-reset", user, user, passkeysRemoved=removed)
    if confirmed is not None:
        await address_confirmed(auth, confirmed)
    return visit.done({"changed": True, "passkeys_removed": removed}, "/login?said=changed")


def _kept(visit: Visit) -> Sequence[str] | None:
    """The ids of the passkeys that stay; None where nothing is said of them."""
    if not visit.json:
        boxes = [name.removeprefix("keep.") for name in visit.fields if name.startswith("keep.")]
        return boxes if "asked" in visit.fields else None
    found = visit.fields.get("keep_passkeys")
    if found is not None and not (isinstance(found, list) and all(isinstance(each, str) for each in found)):
        raise invalid_request("keep_passkeys is a list of ids of passkeys")
    return found


ROUTES = {
    "/reset": {"GET": visits.shown(_page), "POST": visits.submitted(_ask, _page)},
    "/reset/new": {"GET": visits.shown(_new_page), "POST": visits.submitted(_renew, _new_page)},
}
