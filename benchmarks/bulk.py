"""`healthmate load` end to end: resources/s from an NDJSON file into an embedded MongoDB, start-up included.

Run: python -m benchmarks.bulk [--patients 200]. Validation, indexing and journalled writes are on, as in production.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.load import OBSERVATIONS, observation, patient


def resources(patients: int) -> list[dict[str, Any]]:
    found = []
    for number in range(patients):
        id_ = f"bulk-{number}"
        found.append(patient(number) | {"id": id_})
        found += [observation(id_, index + number) | {"id": f"{id_}-{index}"} for index in range(OBSERVATIONS)]
    return found


def measure(patients: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resources.ndjson"
        lines = [json.dumps(resource) for resource in resources(patients)]
        file.write_text("\n".join(lines) + "\n")
        healthmate = str(Path(sys.executable).with_name("healthmate"))
        command = [healthmate, "load", "--data", f"{folder}/data"]
        seconds = {}
        one = Path(folder) / "one.ndjson"
        one.write_text(json.dumps(patient(0) | {"id": "start-up"}) + "\n")
        for name, path in (("start-up", one), ("load", file)):
            start = time.perf_counter()
            subprocess.run([*command, str(path)], check=True, stdout=subprocess.DEVNULL)
            seconds[name] = time.perf_counter() - start
    return {
        "resources": len(lines),
        "seconds": round(seconds["load"], 2),
        "start_up_seconds": round(seconds["start-up"], 2),
        "per_second": round(len(lines) / seconds["load"]),
        "per_second_without_start_up": round(len(lines) / max(seconds["load"] - seconds["start-up"], 0.01)),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=200)
    result = measure(parser.parse_args(arguments).patients)
    print(json.dumps({"healthmate load": result}, indent=2))
    return result


if __name__ == "__main__":
    main()
