"""Another e-mail address for an account, by its owner: it counts once the link that is mailed there is followed.

It is followed where the owner is logged in, so that nobody gives their account the address of somebody else, who would
follow the link and get mail about an account that is not theirs.
"""

from __future__ import annotations

from starlette.responses import Response

from smart_auth import events, links, login, mail, notices, throttle, users, visits
from smart_auth.mail import Mail
from smart_auth.refusal import Refused
from smart_auth.visits import Visit


async def _page(visit: Visit, refused: Refused | None) -> Response:
    visit.person()
    return visit.page("email", refused, email=str(visit.fields.get("email", ""))[: users.LONGEST_LOGIN])


async def _ask(visit: Visit) -> Response:
    auth, network = visit.auth, throttle.address(visit.auth, visit.request)
    visit.person()
    visit.only("email", "password")
    email = mail.checked_address(visit.text("email", needed=True))
    person = await login.again(visit)
    await throttle.admit(auth, throttle.key("mail", network), throttle.MAILS)
    await throttle.admit(auth, throttle.key("address of", person.id))
    link = await links.make(auth, "address", person.id, {"email": email})
    text = (  # without a name: the address may be that of somebody else
        f"Hello,\n\nplease confirm that this is your address now, where you are logged in:\n\n{link}\n\n"
        "The link is good for a day. If you have no account here, do nothing.\n"
    )
    mail.post(auth, Mail(email, "Confirm your new e-mail address", text))
    return visit.done({"sent": True}, "/signup/sent")


async def _confirm_page(visit: Visit, refused: Refused | None) -> Response:
    """A page with a button: what reads mail before people do follows links, too."""
    visit.person()
    code = visit.text("code", 100)
    over = await links.over(visit.auth, code, "address")
    return visit.page("confirm_email", refused or over, code=code, over=over is not None)


async def _confirm(visit: Visit) -> Response:
    visit.only("code")
    auth, person, code = visit.auth, visit.person().user, visit.text("code", 100, needed=True)
    if (await links.look(auth, code, "address")).user != person.id:
        raise Refused("access_denied", "this link is for another account: log in to that one", 403)
    email = (await links.claim(auth, code, "address")).brought["email"]
    await users.change(auth, person.id, users.with_address(person, email))
    await links.drop(auth, person.id)
    await events.record(auth, "address-changed", person.id, person.id)
    notices.send(auth, person, "address")  # to the one before
    return visit.done({"email": email}, "/account")


ROUTES = {
    "/account/email": {"GET": visits.shown(_page), "POST": visits.submitted(_ask, _page)},
    "/account/email/confirm": {
        "GET": visits.shown(_confirm_page),
        "POST": visits.submitted(_confirm, _confirm_page),
    },
}
