from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from apps import Smart

if TYPE_CHECKING:
    from conftest import Serve


@pytest.fixture(scope="module")
def smart(serve: Serve) -> Iterator[Smart]:
    """A record that asks for authorization."""
    smart = Smart(serve(open=False, trusted_hosts=("127.0.0.1",)))
    with smart.http:
        yield smart
