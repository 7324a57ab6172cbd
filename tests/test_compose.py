"""docker-compose.yml shows the parts together: it is valid, and speaks of settings and commands that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fhirserver.cli import main
from fhirserver.process import GRACE_SECONDS
from fhirserver.settings import Settings, unknown_variables

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def filled(text: str) -> str:
    """`$$` is a dollar; variables have their default, or a value."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|[^}]*)\}", lambda found: found[1] or "secret", text).replace("$$", "$")


def test_the_parts_are_there() -> None:
    assert set(SERVICES) == {"mongodb", "redis", "server", "worker"}
    assert OURS == ["server", "worker"]


@pytest.mark.parametrize("name", OURS)
def test_settings_are_known_and_valid(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert unknown_variables(environment) == []
    settings = Settings(
        **{key.removeprefix("HEALTHMATE_").lower(): filled(value) for key, value in environment.items()}
    )
    for url, service in ((settings.mongodb_url, "mongodb"), (settings.broker_url, "redis")):
        assert url is not None
        assert f"@{service}:" in url.get_secret_value()


def test_the_image_has_every_package() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert copied == [each.removesuffix("*") for each in packages]


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    default = re.search(r'^CMD \["(\w+)"', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert default is not None
    assert SERVICES[name].get("command", [default[1]])[0] in main.commands


@pytest.mark.parametrize("name", SERVICES)
def test_whom_others_wait_for_says_that_it_is_healthy(name: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        assert wanted == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other] or "HEALTHCHECK" in dockerfile


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_declared(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        assert volume.partition(":")[0] in COMPOSE["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_ours_are_not_killed_while_they_end(name: str) -> None:
    """Docker waits ten seconds unless it is told to wait longer. https://docs.docker.com/reference/compose-file/"""
    assert int(SERVICES[name].get("stop_grace_period", "10s").removesuffix("s")) > GRACE_SECONDS + 5


def test_what_is_kept_is_on_disk() -> None:
    assert "--appendonly yes" in filled(SERVICES["redis"]["command"][-1])
    assert {volume.partition(":")[2] for volume in SERVICES["redis"]["volumes"]} == {"/data"}
