"""US Core, loaded as an operator loads it: its examples are stored under its profiles, and what breaks them is refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.interactions.load import load
from fhirserver.app import contexts
from tests.validation.packages import US_CORE, beside

if TYPE_CHECKING:
    from conftest import Fhir, Serve
