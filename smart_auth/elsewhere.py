"""What else is open when somebody changes how they get in: their other sessions, and apps that they let in.

Who changes a password may do it because somebody else knows it. So all of it ends, unless the person says that it stays
(OWASP ASVS 5.0, 7.4.3). Another second step, or a passkey more or less, ends the other sessions.
"""

from __future__ import annotations

from smart_auth import sessions, tokens
from smart_auth.server import Auth, Document

REASON = "the way in was changed"


async def end(auth: Auth, user: str, here: str | None, *, offline: bool = False) -> None:
    """Sessions but `here`, and what apps hold by them; `offline`: also what apps hold beyond any session."""
    await sessions.end_all(auth, user, except_=here)
    others, lasting = {"session": {"$ne": here or ""}}, {"scope": tokens.OFFLINE}
    which: Document = {"$or": [others, lasting]} if offline else {"$and": [others], "$nor": [lasting]}
    await tokens.revoke_all(auth, {"user": user, **which}, REASON)
