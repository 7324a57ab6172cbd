"""What happened to accounts, stored before the answer leaves: who did it, to whom, and what."""

from __future__ import annotations

from typing import Any

from smart_auth.server import Auth


async def record(auth: Auth, kind: str, actor: str, subject: str, **details: Any) -> None:
    await auth["events"].insert_one(
        {"at": auth.now(), "kind": kind, "actor": actor, "subject": subject, "details": details}
    )
    await auth.tell(kind, actor, subject)


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
