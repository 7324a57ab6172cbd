"""Mail about what changed in one's account, so that nobody changes it behind one's back."""

from __future__ import annotations

from smart_auth import mail
from smart_auth.mail import Mail
from smart_auth.server import Auth
from smart_auth.users import User

CHANGED = {
    "password": "the password of your account was changed",
    "second factor on": "an authenticator was added to your account: from now on its code is asked for",
    "second factor off": "the second step was taken off your account: from now on your password alone opens it",
    "recovery code": "a recovery code was used to log in to your account",
    "recovery codes": "new recovery codes were made for your account; the old ones are not good any more",
    "address": "mail about your account goes to another address from now on",
    "passkey on": "a passkey was added to your account",
    "passkey off": "a passkey was taken off your account",
}


def send(auth: Auth, person: User, what: str) -> None:
    if person.email is not None:
        text = (
            f"Hello {person.name},\n\n{CHANGED[what]}.\n\nThat was not you? Choose a new password at once:"
            f" {auth.issuer}/reset\nand look through your account: {auth.issuer}/account\n"
        )
        mail.post(auth, Mail(person.email, "Your account was changed", text))
