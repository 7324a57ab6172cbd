"""Places on the globe. https://hl7.org/fhir/R4/location.html#search"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def position(value: Json) -> Json | None:
    """A GeoJSON point, longitude first; one, for MongoDB indexes no list of them. What lies on no globe is no place."""
    latitude, longitude = value.get("latitude"), value.get("longitude")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return {"type": "Point", "coordinates": [float(longitude), float(latitude)]}
