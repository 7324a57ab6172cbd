"""docs/smart.md keeps its word: its commands run as they stand, with a person at the browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from apps import Smart, agreed
from brief import briefly
from people import PASSWORD, Browser

from fhirserver.process import prepare

ROOT = Path(__file__).parent.parent.parent
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "smart.md").read_text(), re.DOTALL | re.MULTILINE)
DONE = "--- done ---"


class Shell:
    """A bash that is typed into, block after block."""

    def __init__(self, smart: Smart, folder: Path) -> None:
        assert smart.settings.mongodb_url
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HEALTHMATE_MONGODB_URL": smart.settings.mongodb_url.get_secret_value(),
            "HEALTHMATE_DATABASE": smart.settings.database,
            "HEALTHMATE_LOG_LEVEL": "error",
        }
        self.port = smart.settings.port
        self.bash = subprocess.Popen(
            ["bash"], cwd=folder, env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, block: str, typed: str = "") -> str:
        """What a block prints; `typed` is what it reads."""
        assert self.bash.stdin
        assert self.bash.stdout
        block = block.replace("localhost:8000", f"localhost:{self.port}")
        if typed:
            block = block.replace("read -r CODE\n", f"read -r CODE\n{typed}\n")
        self.bash.stdin.write(f"{block}\necho\necho '{DONE}'\n")
        self.bash.stdin.flush()
        lines = iter(self.bash.stdout.readline, "")
        printed = []
        for line in lines:
            if line.strip() == DONE:
                return "".join(printed).strip()
            printed.append(line)
        raise AssertionError("".join(printed))


@pytest.fixture
def shell(smart: Smart, tmp_path: Path) -> Iterator[Shell]:
    briefly(prepare(smart.settings, lambda line: None))
    shell = Shell(smart, tmp_path)
    with shell.bash:
        yield shell
        assert shell.bash.stdin
        shell.bash.stdin.close()


def block(start: str) -> str:
    (found,) = [each for each in BLOCKS if start in each]
    return found


def landed(answer: Any) -> str:
    url = answer.headers["location"]
    assert urlsplit(url).netloc == "localhost:9000", url
    (code,) = parse_qs(urlsplit(url).query)["code"]
    return code


def test_the_commands_run(smart: Smart, shell: Shell) -> None:
    assert '"client_id": "nightly"' in shell.run(block("keys.py"))
    assert '"family":"Lovelace"' in shell.run(block("assertion.py"))
    said = shell.run(block("user add"))
    assert "ada@example.org" in said
    assert '"client_id": "growth"' in said
    url = shell.run(block("cat > app.py"))
    browser = Browser(smart.settings)
    with browser.http:
        asked = browser.get(url)
        assert "/auth/login?" in asked.headers["location"]
        assert browser.log_in("ada@example.org", PASSWORD).status_code == 200
        said = shell.run(block("read -r CODE"), landed(agreed(browser, browser.get(url))))
        assert said.count('"family":"Lovelace"') == 2
        assert f"{smart.fhir.base_url}/Patient/ada" in said
        assert said.endswith("401")
        url = shell.run(block("launch-token"))
        assert landed(agreed(browser, browser.get(url)))
    listed = shell.run(block("client list"))
    assert "Growth chart" in listed
    assert "Removed nightly" in listed


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == 7
