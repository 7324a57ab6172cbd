"""Passwords: which are good enough, and their hashes. https://pages.nist.gov/800-63-4/sp800-63b.html

A hash takes 64 MiB and a core for a while. So four are made at once in a process, some wait, and the rest is told to
come back: a crowd at the door must not take the house down.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from zxcvbn import zxcvbn

from smart_auth.refusal import Refused, invalid_request
from smart_auth.server import Auth

SHORTEST, LONGEST = 8, 128
AT_ONCE, WAITING = 4, 32
BCRYPT_BYTES = 72
JUDGED = 72  # characters that zxcvbn looks at: its time grows faster than the length

T = TypeVar("T")
_workers = ThreadPoolExecutor(AT_ONCE, "passwords")
_room = BoundedSemaphore(AT_ONCE + WAITING)


class Bcrypt(BcryptHasher):
    """As the systems that such hashes come from: bcrypt never saw more than 72 bytes."""

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        raw = password.encode() if isinstance(password, str) else password
        return super().verify(raw[:BCRYPT_BYTES], hash)


_hashes = PasswordHash((Argon2Hasher(), Bcrypt()))


async def hashed(password: str) -> str:
    return await worked(partial(_hashes.hash, password))


async def verified(password: str, hash_: str | None) -> tuple[bool, str | None]:
    """Whether it is the password, and a new hash of it where the kept one is of an older kind.

    Where there is no account there is the work of an argon2id; what is left of the difference `failures` hides.
    """
    if not 1 <= len(password) <= LONGEST:
        password, hash_ = "no password", None
    return await worked(partial(_verified, password, hash_))


def _verified(password: str, hash_: str | None) -> tuple[bool, str | None]:
    stand_in = _of_nobody()
    try:
        right, renewed = _hashes.verify_and_update(password, hash_ or stand_in)
    except UnknownHashError:
        right, renewed = False, None
    return right and hash_ is not None, renewed


@cache
def _of_nobody() -> str:
    return _hashes.hash("the password of nobody")


async def check_new(auth: Auth, password: str, personal: Sequence[str], field: str = "password") -> None:
    """Refuse a new password that others would guess; `personal` is what they know of its owner."""
    score, breached = auth.settings.password_score, auth.settings.breached_passwords
    if not SHORTEST <= len(password) <= LONGEST:
        raise invalid_request(f"a password has {SHORTEST} to {LONGEST} characters", field)
    weakness = await worked(partial(_weakness, password, tuple(personal), score))
    if weakness is None and breached is not None and await worked(partial(listed, password, breached)):
        weakness = "it is in a list of stolen passwords"
    if weakness is not None:
        raise invalid_request(f"this password is too easy to guess: {weakness}", field)


def _weakness(password: str, personal: tuple[str, ...], least: int) -> str | None:
    known = [part for text in personal for part in (text, *text.replace("@", " ").replace(".", " ").split()) if part]
    found = zxcvbn(password[:JUDGED], user_inputs=[*known, "healthmate"])
    if found["score"] >= least:
        return None
    feedback = found["feedback"]
    said = [feedback["warning"], *feedback["suggestions"]]
    return " ".join(text.rstrip(".") + "." for text in said if text) or "make it longer."


def listed(password: str, file: Path) -> bool:
    """Whether the SHA-1 of a password is in a sorted file of lines HASH:COUNT, by bisection.

    The format of https://haveibeenpwned.com/Passwords, ordered by hash; nothing leaves this machine.
    """
    wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    with file.open("rb") as lines:
        low, high = 0, file.stat().st_size
        while low < high:  # the first line that begins at or after `low` is the one looked for, or comes before it
            middle = (low + high) // 2
            lines.seek(middle)
            if middle:
                lines.readline()
            if (line := lines.readline()) and line[:40].upper() < wanted:
                low = middle + 1
            else:
                high = middle
        lines.seek(low)
        if low:
            lines.readline()
        return lines.readline()[:40].upper() == wanted


async def worked(work: Callable[[], T]) -> T:
    if not _room.acquire(blocking=False):
        raise Refused("temporarily_unavailable", "too many log-ins at once; try again", 503, {"Retry-After": "2"})
    future = _workers.submit(work)
    future.add_done_callback(lambda _: _room.release())  # also when nobody waits for it any more
    return await asyncio.wrap_future(future)
