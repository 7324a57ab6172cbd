"""Administrators come from known networks, where a setting names them; everybody else from everywhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from people import PASSWORD, Browser, inside, person

from fhirserver.settings import Settings
from smart_auth import tokens
from smart_auth.addresses import may_administer, neighbourhood
from smart_auth.server import Auth

OFFICE, HOME = {"X-Forwarded-For": "10.1.2.3"}, {"X-Forwarded-For": "198.51.100.7"}
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def served(serve: Any) -> Any:
    found = serve(open=False, trusted_proxies="127.0.0.1", admin_networks="10.1.0.0/16, 2001:db8::/32")
    person(found.settings, "root@example.org", roles=["admin"])
    person(found.settings, "doc@example.org", roles=["practitioner"])
    return found


def token(settings: Settings, login: str) -> dict[str, str]:
    async def issued(auth: Auth) -> str:
        user = await auth["users"].find_one({"login": login})
        assert user is not None
        hour = timedelta(hours=1)
        grant = await tokens.begin(auth, "app", "user/*.cruds", hour, user=user["_id"])
        return (await tokens.issue(auth, grant, "user/*.cruds", hour, None)).access

    return {"Authorization": f"Bearer {inside(settings, issued)}"}


def test_an_administrator_logs_in_from_known_networks_only(served: Any) -> None:
    body = {"login": "root@example.org", "password": PASSWORD}
    for place, status in ((HOME, 403), ({}, 403), ({"X-Forwarded-For": "10.1.2.3, 198.51.100.7"}, 403), (OFFICE, 200)):
        browser = Browser(served.settings)
        browser.http.headers.update(place)
        answer = browser.json("/login", body)
        assert (answer.status_code, "set-cookie" in answer.headers) == (status, status == 200), place
        assert browser.get("/users", headers=JSON).status_code == (200 if status == 200 else 401)


def test_a_session_that_goes_elsewhere_ends(served: Any) -> None:
    browser = Browser(served.settings)
    browser.http.headers.update(OFFICE)
    browser.log_in("root@example.org")
    refused = browser.get("/users", headers=JSON | HOME)
    assert (refused.status_code, "HEALTHMATE_ADMIN_NETWORKS" in refused.text) == (403, True)
    assert browser.get("/users", headers=JSON).status_code == 401


def test_an_app_of_an_administrator_reads_from_known_networks_only(served: Any) -> None:
    root = token(served.settings, "root@example.org")
    assert served.client.get("$stats", headers=root | OFFICE).status_code == 200
    for place in (HOME, {}):
        for path in ("$stats", "Patient", "Patient/nobody"):
            answer = served.client.get(path, headers=root | place)
            assert answer.status_code == 403
            assert answer.json()["issue"][0]["code"] == "forbidden"


def test_everybody_else_comes_from_everywhere(served: Any) -> None:
    doctor = token(served.settings, "doc@example.org")
    browser = Browser(served.settings)
    browser.http.headers.update(HOME)
    assert browser.log_in("doc@example.org").status_code == 200
    assert served.client.get("Patient", headers=doctor | HOME).status_code == 200


@pytest.mark.parametrize(
    ("host", "networks", "let_in"),
    [
        ("10.1.0.1", "", True),
        ("10.1.0.1", "10.1.0.0/16", True),
        ("10.2.0.1", "10.1.0.0/16", False),
        ("::ffff:10.1.0.1", "10.1.0.0/16", True),  # of IPv4, though the socket is of IPv6
        ("2001:db8::9", "10.1.0.0/16,2001:db8::/32", True),
        ("2001:db9::9", "10.1.0.0/16,2001:db8::/32", False),
        ("", "10.1.0.0/16", False),
        ("testclient", "10.1.0.0/16", False),
    ],
)
def test_where_an_administrator_may_be(host: str, networks: str, let_in: bool) -> None:
    settings, scope = Settings(admin_networks=networks), {"type": "http", "client": (host, 1), "headers": []}
    assert may_administer(settings, frozenset({"admin"}), scope) is let_in
    assert may_administer(settings, frozenset({"practitioner"}), scope)


def test_a_household_is_one_place_and_two_addresses_of_ipv4_are_two() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:2") == "2001:db8::/64"
    assert (neighbourhood("::ffff:192.0.2.1"), neighbourhood("192.0.2.2")) == ("192.0.2.1", "192.0.2.2")


def test_what_is_no_network_is_no_setting() -> None:
    with pytest.raises(ValueError, match="admin_networks"):
        Settings(admin_networks="the office")
