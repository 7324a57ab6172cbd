"""Making an account oneself: with an e-mail address that is confirmed, and an invitation that links it to a record.

Whether an address has an account already is told to its owner only, by mail.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from smart_auth import events, invitations, links, mail, passwords, throttle, users, visits
from smart_auth.links import Claimed
from smart_auth.mail import Mail
from smart_auth.refusal import Refused
from smart_auth.server import Auth, Document
from smart_auth.users import User
from smart_auth.visits import Visit

USED = "the invitation was used before or is too old by now; ask for a new one"
NOT_CHOSEN = (
    "this is not the password that was chosen when this link was asked for: somebody else may have asked for it, "
    "so make the account yourself, or choose a new password"
)


async def _page(visit: Visit, refused: Refused | None) -> Response:
    if visit.auth.settings.sign_up == "off":
        refused = Refused("access_denied", "accounts are made by who keeps this server", 403)
    typed = {name: str(visit.fields.get(name, ""))[:254] for name in ("name", "email", "invitation")}
    how = visit.auth.settings.sign_up
    return visit.page("signup", refused, open=how != "off", invited=how == "invited", **typed)


async def _sign_up(visit: Visit) -> Response:
    auth = visit.auth
    visit.only("email", "name", "password", "invitation")
    email = mail.checked_address(visit.text("email", needed=True))
    name = users.checked_name(visit.text("name"))
    password, invitation = visit.text("password", needed=True), visit.text("invitation", 100).strip()
    if auth.settings.sign_up == "off" or (auth.settings.sign_up == "invited" and not invitation):
        raise Refused(
            "access_denied", "accounts are made by invitation: ask who keeps your record", 403, field="invitation"
        )
    place = throttle.key("sign-up", throttle.address(visit.auth, visit.request))
    whose = throttle.key("sign-up of", users.folded(email))  # it gets a mail each time
    await throttle.admit(auth, place, throttle.MAILS)
    await throttle.admit(auth, whose)
    async with throttle.given_back(auth, place, whose):
        await passwords.check_new(auth, password, [name, email])
        hash_ = await passwords.hashed(password)
    invited = await invitations.look(auth, invitation) if invitation else None
    mail.later(_account(auth, email, name, hash_, invited))
    return visit.done({"sent": True}, "/signup/sent")


async def _account(auth: Auth, email: str, name: str, hash_: str, invitation: str | None) -> None:
    try:
        person = await users.create(auth, email, name=name, email=email, password=hash_)
    except Refused as refused:
        if refused.error != "conflict":
            raise
        await _known_already(auth, email, {"password": hash_, "name": name or users.folded(email)}, invitation)
        return
    if invitation is not None:
        linked = await invitations.claim(auth, invitation)
        if linked is None:
            await auth["users"].delete_one({"_id": person.id, "verified": False})
            mail.post(auth, Mail(email, "Your invitation", f"No account was made: {USED}.\n"))
            return
        await users.change(auth, person.id, linked)
    await events.record(auth, "sign-up", person.id, person.id)
    await send_confirmation(auth, person, {"password": hash_, "name": person.name})


async def _known_already(auth: Auth, email: str, brings: Mapping[str, str], invitation: str | None) -> None:
    """Who was invited gets the account with the record and the password that come with this link, while nobody
    confirmed the address; what an account has that is in use, or that an administrator linked, is changed by
    administrators alone."""
    person = await users.by_login(auth, email)
    if person is not None and not person.verified and person.password is not None:
        await send_confirmation(auth, person, brings, invitation)
    elif person is not None:
        text = (
            "Somebody, you perhaps, wanted to make an account with this address. There is one already.\n\n"
            f"Log in: {auth.issuer}/login\nNo password at hand? {auth.issuer}/reset\n"
        )
        if invitation is not None:
            text += "\nThe invitation was not used: ask who sent it to link your account to your record.\n"
        mail.post(auth, Mail(email, "You have an account already", text))


async def send_confirmation(
    auth: Auth, person: User, brings: Mapping[str, str | None] | None = None, invitation: str | None = None
) -> None:
    """The link brings the password and the name that were chosen when it was asked for, and the invitation that was
    typed then; of who logs in, those of the account.

    Somebody else may have tried to make an account with this address before, and knows the password of then.
    """
    if person.email is None:
        return
    chosen = {"password": person.password, "name": person.name}
    link = await links.make(auth, "confirm", person.id, brings or chosen, invitation)
    text = (  # without a name: somebody else may have typed it, and an advertisement with it
        f"Hello,\n\nplease confirm that this is your address:\n\n{link}\n\n"
        "The link is good for two days. If you did not ask for an account, do nothing.\n"
    )
    mail.post(auth, Mail(person.email, "Confirm your e-mail address", text))


async def _confirm_page(visit: Visit, refused: Refused | None) -> Response:
    """A page with a button: what reads mail before people do follows links, too."""
    code = visit.text("code", 100)
    over = await links.over(visit.auth, code, "confirm")
    return visit.page("confirm", refused or over, code=code, over=over is not None)


async def _check_chosen(auth: Auth, link: Claimed, password: str) -> None:
    """Who follows a link that somebody else asked for would otherwise open the account to their password."""
    person, chosen = await users.find(auth, link.user), link.brought.get("password")
    if person is not None and link.invitation is None and not person.unlinked:
        chosen = person.password  # who was invited before has chosen: `_confirmed`
    attempts = throttle.key("confirming", link.user)
    await throttle.admit(auth, attempts)
    async with throttle.given_back(auth, attempts):
        right, _ = await passwords.verified(password, chosen)
    if not right:
        raise Refused("access_denied", NOT_CHOSEN, 403, field="password")
    await throttle.proved(auth, attempts)


async def _confirm(visit: Visit) -> Response:
    visit.only("code", "password")
    code, password = visit.text("code", 100, needed=True), visit.text("password", needed=True)
    await _check_chosen(visit.auth, await links.look(visit.auth, code, "confirm"), password)
    user, brought, invitation = await links.claim(visit.auth, code, "confirm")
    linked: Document | None = None
    if invitation is not None:
        linked = await invitations.claim(visit.auth, invitation)
        if linked is None:  # without it, the password that came along is no better than anybody's
            raise Refused("invalid_request", USED)
    person = await _confirmed(visit.auth, user, brought, linked)
    if person is None:
        raise Refused("invalid_request", "this address needs no confirming: log in, or ask for a new password")
    await links.drop(visit.auth, user)
    await address_confirmed(visit.auth, person)
    return visit.done({"confirmed": True}, "/login?said=confirmed")


async def _confirmed(auth: Auth, user: str, brought: Mapping[str, str], linked: Document | None) -> User | None:
    """The account from now on; None where it is in use, or waits for its owner to choose a password.

    Who was invited before has chosen: without an invitation, a link brings nothing to an account that has a link.
    """
    waiting = {"verified": False, "password": {"$ne": None}}
    confirmed = {"verified": True}
    if linked is not None:
        return await users.change(auth, user, {**confirmed, **brought, **linked}, waiting)
    chosen = await users.change(auth, user, {**confirmed, **brought}, {**waiting, **users.NEW})
    return chosen or await users.change(auth, user, confirmed, waiting)


async def address_confirmed(auth: Auth, person: User) -> None:
    """What comes with it, by whatever link."""
    await events.record(auth, "address-confirmed", person.id, person.id)
    if auth.settings.sign_up_record:
        await _own_record(auth, person)


async def _own_record(auth: Auth, person: User) -> None:
    """Who was not invited to a record begins one."""
    if person.unlinked:
        id_ = await auth.choices.made(person)
        if id_ is not None:
            await users.change(auth, person.id, {"patient": id_, "fhir_user": f"Patient/{id_}"})
            await events.record(auth, "record-begun", person.id, person.id, patient=id_)


async def _sent_page(visit: Visit, refused: Refused | None) -> Response:
    return visit.page("sent", refused)


ROUTES = {
    "/signup": {"GET": visits.shown(_page), "POST": visits.submitted(_sign_up, _page)},
    "/signup/sent": {"GET": visits.shown(_sent_page)},
    "/confirm": {"GET": visits.shown(_confirm_page), "POST": visits.submitted(_confirm, _confirm_page)},
}
