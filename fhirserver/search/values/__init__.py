"""What is stored for a value so that a search clause becomes plain equality or a range.

One function per parameter type and FHIR type; each answers a list, empty where the value says nothing to search for.
`search.forms` says which is asked of what. https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Forms = Callable[[Any], Any]
CACHE = 65_536
LONGEST_CACHED = 128  # characters
