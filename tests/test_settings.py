"""Settings come from HEALTHMATE_* variables, contradict nothing, and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from fhirserver.settings import Settings, default_base_url, is_loopback, masked, shown, unknown_variables


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEALTHMATE_{name.upper()}", raising=False)


def test_variables_set_them_and_arguments_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHMATE_PORT", "9000")
    monkeypatch.setenv("HEALTHMATE_DATA", "~/records")
    monkeypatch.setenv("HEALTHMATE_DATABASE", "")
    assert Settings().port == 9000
    assert Settings(port=9001).port == 9001
    assert Settings().data == Path.home() / "records"
    assert Settings().database == "healthmate"


def test_they_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("mongodb://user:pass@db:27017/?replicaSet=rs0", "mongodb://***@db:27017/?replicaSet=rs0"),
        ("mongodb+srv://user:p%40ss@db.example.org", "mongodb+srv://***@db.example.org"),
        ("mongodb://user:p@ss/word@db", "mongodb://***@db"),
        (
            "mongodb://db/?tlsCertificateKeyFilePassword=pass&tls=true",
            "mongodb://db/?tlsCertificateKeyFilePassword=***&tls=true",
        ),
        ("mongodb://db:27017", "mongodb://db:27017"),
        ("redis://:p@ss@broker:6379/0", "redis://***@broker:6379/0"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, safe: str) -> None:
    assert masked(url) == safe


def test_no_secret_is_shown_nor_named_in_an_error() -> None:
    settings = Settings(
        mongodb_url="mongodb://u:swordfish@db", broker_url="rediss://:swordfish@broker", secret="swordfish"
    )
    assert "swordfish" not in str(list(shown(settings))) + repr(settings) + str(settings)
    with pytest.raises(ValidationError) as refusal:
        Settings(mongodb_url="mongodb://u:swordfish@db", open=True, host="0.0.0.0")
    assert "swordfish" not in str(refusal.value)


@pytest.mark.parametrize("url", ["amqp://h", "memory://", "h:6379", "http://h"])
def test_the_broker_is_a_redis(url: str) -> None:
    with pytest.raises(ValidationError, match=r"redis://"):
        Settings(broker_url=url)


def test_every_setting_says_what_it_decides() -> None:
    assert all(meaning for _, _, meaning in shown(Settings()))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "localhost.example.org"])
def test_open_is_refused_where_others_can_connect(host: str) -> None:
    with pytest.raises(ValidationError, match="authorization off"):
        Settings(open=True, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_open_is_allowed_on_this_machine_only(host: str) -> None:
    assert is_loopback(host)
    assert Settings(open=True, host=host).open


def test_the_base_url_follows_host_and_port_unless_it_is_given() -> None:
    assert Settings(port=8080).base_url == "http://localhost:8080/fhir"
    assert Settings(base_url="https://example.org/r4/").base_url == "https://example.org/r4"
    assert default_base_url("fd00::7", 80) == "http://[fd00::7]:80/fhir"
    with pytest.raises(ValidationError, match="base_url"):
        Settings(base_url="example.org")


def test_a_page_is_not_larger_than_the_largest_page() -> None:
    with pytest.raises(ValidationError, match="larger than max_count"):
        Settings(default_count=50, max_count=20)


def test_a_misspelt_variable_is_found() -> None:
    assert unknown_variables(["HEALTHMATE_PROT", "HEALTHMATE_PORT", "PATH"]) == ["HEALTHMATE_PROT"]


def test_the_authorization_server_stands_beside_the_fhir_base() -> None:
    assert Settings(port=8080).auth_url == "http://localhost:8080/auth"
    assert Settings(base_url="https://example.org/health/fhir/").auth_url == "https://example.org/health/auth"
    assert Settings(base_url="https://fhir.example.org").auth_url == "https://fhir.example.org/auth"
    assert Settings(auth_url="https://id.example.org/").of_tenant("north").auth_url == "https://id.example.org/north"
