"""Profiles that were compiled, by the canonicals that meant them and the stored versions that they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fhirserver.validation.profiles import Profile

Identity = tuple[str, int] | None  # a stored version of a StructureDefinition; None where nothing is stored


class Member(NamedTuple):
    """A value, as JSON, that may be in a value set."""

    value_set: str
    text: bytes


class Kept:
    """What canonicals meant in an epoch, and which values were in which value sets."""

    def __init__(self, epoch: int = -1) -> None:
        self.epoch = epoch
        self.used: dict[str, Identity] = {}
        self.members: dict[Member, bool | None] = {}
        self.profiles: dict[str, Profile] = {}
        self._compiled: dict[tuple[str, int], Profile] = {}

    def compiled(self, identity: tuple[str, int]) -> Profile | None:
        return self._compiled.get(identity)

    def put(self, canonical: str, profile: Profile | None, identity: Identity) -> None:
        """That there is none is known then, too."""
        self.used[canonical] = identity
        if profile is not None:
            self.profiles[canonical] = profile
            if identity is not None:
                self._compiled[identity] = profile


class KeptProfiles:
    """Those of now. A profile is made of others, so when one is changed, all are made anew."""

    def __init__(self) -> None:
        self.now = Kept()
        self.listed: tuple[int, Mapping[str, tuple[str, ...]]] | None = None  # those of each type, in an epoch
