"""The second step of an account: whether it has one to show, and has to have one.

Who has to have one and has none sets it up on the way in, by the password alone. So what there is of it is never lost
by a password or by mail: a person replaces it, and an administrator takes it away.
"""

from __future__ import annotations

from smart_auth.server import Auth
from smart_auth.users import User


def required(auth: Auth, person: User) -> bool:
    """Whether a role of the person has to have a second step."""
    return not person.roles.isdisjoint(auth.settings.second_factor_roles)


async def has(auth: Auth, person: User) -> bool:
    return person.totp is not None or await auth["passkeys"].find_one({"user": person.id}) is not None


def by_passkey_alone(auth: Auth, person: User) -> bool:
    """Whether the passkeys, where there are any, are all that this person has for a step that is required."""
    return person.totp is None and required(auth, person)
