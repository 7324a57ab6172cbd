"""What happened to accounts, stored before the answer leaves: who did it, to whom, and what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smart_auth.server import Auth, Happening

SAID = {  # to whom it happened
    "address-changed": "Your e-mail address was changed",
    "address-confirmed": "Your address was confirmed",
    "app-allowed": "An app was let in",
    "app-removed": "What an app may do was taken back",
    "grant-ended": "What an app may do was ended",
    "launch": "An app was opened",
    "log-in": "You logged in",
    "log-in-failed": "Somebody tried to log in and failed",
    "log-ins-turned-away": "More attempts to log in had to wait",
    "log-out": "You logged out",
    "name-changed": "Your name was changed",
    "passkey-added": "A passkey was added",
    "passkey-failed": "A passkey was shown and is not right",
    "passkey-removed": "A passkey was removed",
    "password-changed": "The password was changed",
    "password-reset": "A new password was chosen by a link",
    "record-begun": "Your record was begun",
    "recovery-code-used": "A recovery code was used",
    "recovery-codes-made": "New recovery codes were made",
    "reset-asked": "A link for a new password was asked for",
    "second-factor-added": "An authenticator was added",
    "second-factor-failed": "A wrong code was shown after the right password",
    "second-factor-removed": "The second step was taken off",
    "sessions-ended": "Sessions were ended",
    "sign-up": "The account was made",
    "user-added": "The account was made",
    "user-changed": "Roles or links of the account were changed",
    "user-logged-out": "The account was logged out everywhere",
}


async def record(
    auth: Auth,
    kind: str,
    actor: str,
    subject: str,
    *,
    address: str = "",
    patient: str | None = None,
    person: str | None = None,
    **details: Any,
) -> None:
    more = {name: value for name, value in (("address", address), ("patient", patient)) if value}
    await auth["events"].insert_one(
        {"at": auth.now(), "kind": kind, "actor": actor, "subject": subject, "details": more | details}
    )
    roles: dict[str, Sequence[str]] = {name: details[name] for name in ("rolesBefore", "roles") if name in details}
    await auth.tell(Happening(kind, actor, subject, address, patient, person, roles))


async def about(auth: Auth, subject: str, count: int = 50) -> list[dict[str, Any]]:
    """What happened to an account, the latest first."""
    found = auth["events"].find({"subject": subject}).sort("at", -1).limit(count)
    return [
        {
            "at": each["at"].isoformat(timespec="seconds"),
            "kind": each["kind"],
            "actor": each["actor"],
            **each["details"],
        }
        async for each in found
    ]
