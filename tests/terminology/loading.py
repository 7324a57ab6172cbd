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


def loader(served: Served) -> tuple[Fhir, Load]:
    """The client of a server, and the command that loads releases into its database."""
    settings = served.settings
    environment = {
        "HEALTHMATE_MONGODB_URL": str(settings.mongodb_url.get_secret_value()) if settings.mongodb_url else ""
    }
    environment["HEALTHMATE_DATABASE"] = settings.database

    def load(kind: str, path: Path, *options: str) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(telemetry, "configure", lambda level: None)
            return CliRunner().invoke(main, ["load-terminology", kind, str(path), *options], env=environment)

    return served.client, load
