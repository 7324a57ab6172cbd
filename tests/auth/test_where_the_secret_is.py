"""A server whose secret lies in its database says so when it starts, once, unless it is only for a look."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Serve

SAID = "HEALTHMATE_SECRET is not set"


@pytest.mark.parametrize(
    ("settings", "times"),
    [({}, 1), ({"secret": "of this test"}, 0), ({"demo": 1}, 0), ({"open": True}, 0), ({"tenants": "north,south"}, 1)],
    ids=["unset", "set", "a demo", "open", "tenants"],
)
def test_where_the_secret_lies_is_said(
    serve: Serve, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], times: int
) -> None:
    with caplog.at_level(logging.WARNING):
        serve(**({"open": False} | settings))
    assert caplog.text.count(SAID) == times
