"""Purposes of use: what somebody wants data for. https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html"""

from __future__ import annotations

from functools import lru_cache

from terminology.canonical import Canonical
from terminology.published import published_system

SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PURPOSE = "PurposeOfUse"
TREATMENT, EMERGENCY, PATIENT, ADMINISTRATION = "TREAT", "BTG", "PATRQT", "HSYSADMIN"


@lru_cache(maxsize=1_000)
def above(code: str) -> frozenset[str]:
    """A purpose and those that it is one of: BTG is an ETREAT, and so a TREAT. Nothing where it is no purpose."""
    system = published_system(Canonical("CodeSystem", SYSTEM))
    if system is None or code not in system:
        return frozenset()
    found = system.higher(code)
    return found if PURPOSE in found else frozenset()


def is_purpose(code: str) -> bool:
    return bool(above(code))


def may_be(purposes: frozenset[str], named: str) -> bool:
    """Whether somebody with these purposes may be acting for the one that is named. No purpose may be any."""
    return not purposes or any(named in above(each) for each in purposes)


def are(purposes: frozenset[str], named: str) -> bool:
    """Whether all that somebody with these purposes does is for the one that is named."""
    return bool(purposes) and all(named in above(each) for each in purposes)
