"""What a release says of itself."""

from typing import NamedTuple


class Described(NamedTuple):
    url: str
    version: str
    name: str
