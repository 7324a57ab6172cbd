"""`healthmate load-terminology` on the database of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asking import Load
from click.testing import CliRunner, Result

from fhirserver import telemetry
from fhirserver.cli import main

if TYPE_CHECKING:
    from conftest import Fhir, Served


def run(served: Served, *arguments: str, **variables: str) -> Result:
    """A command on the database of a server."""
    settings = served.settings
    assert settings.mongodb_url is not None
    url = settings.mongodb_url.get_secret_value()
    environment = {"HEALTHMATE_MONGODB_URL": url, "HEALTHMATE_DATABASE": settings.database} | variables
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "configure", lambda level: None)
        return CliRunner().invoke(main, [*arguments], env=environment)


def loader(served: Served) -> tuple[Fhir, Load]:
    """The client of a server, and the command that loads releases into its database."""

    def load(kind: str, path: Path, *options: str) -> Result:
        return run(served, "load-terminology", kind, str(path), *options)

    return served.client, load
