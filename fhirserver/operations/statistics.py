"""The statistics of Observation/$stats, by their codes.

https://hl7.org/fhir/R4/valueset-observation-statistics.html. Percentiles are interpolated between the two nearest
values, as by numpy's default. What is not defined for so few values is None.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

Statistic = Callable[[Sequence[Decimal]], Decimal | float | int | None]


def percentile(values: Sequence[Decimal], of_hundred: int) -> Decimal | None:
    if not values:
        return None
    ordered = sorted(values)
    whole, part = divmod((len(ordered) - 1) * of_hundred, 100)
    low, high = ordered[whole], ordered[min(whole + 1, len(ordered) - 1)]
    return low + (high - low) * part / 100


def _deviation(values: Sequence[Decimal]) -> float | None:
    return math.sqrt(statistics.variance(values)) if len(values) > 1 else None


def _moment(values: Sequence[Decimal], power: int) -> float | None:
    """The standardized moment of the population; undefined where all values are the same."""
    if not values:
        return None
    mean = float(sum(values) / len(values))
    spread = math.fsum((float(value) - mean) ** 2 for value in values) / len(values)
    if spread == 0:
        return None
    return math.fsum((float(value) - mean) ** power for value in values) / len(values) / math.pow(spread, power / 2)


def _skew(values: Sequence[Decimal]) -> float | None:
    return _moment(values, 3)


def _kurtosis(values: Sequence[Decimal]) -> float | None:
    """Excess kurtosis: 0 for the normal distribution."""
    found = _moment(values, 4)
    return None if found is None else found - 3


def _quartile_deviation(values: Sequence[Decimal]) -> Decimal | None:
    low, high = percentile(values, 25), percentile(values, 75)
    return None if low is None or high is None else (high - low) / 2


STATISTICS: Mapping[str, Statistic] = {
    "average": lambda values: sum(values) / len(values) if values else None,
    "maximum": lambda values: max(values, default=None),
    "minimum": lambda values: min(values, default=None),
    "count": len,
    "median": lambda values: percentile(values, 50),
    "std-dev": _deviation,
    "sum": lambda values: sum(values, Decimal(0)),
    "variance": lambda values: statistics.variance(values) if len(values) > 1 else None,
    "20-percent": lambda values: percentile(values, 20),
    "80-percent": lambda values: percentile(values, 80),
    "4-lower": lambda values: percentile(values, 25),
    "4-upper": lambda values: percentile(values, 75),
    "4-dev": _quartile_deviation,
    "5-1": lambda values: percentile(values, 20),
    "5-2": lambda values: percentile(values, 40),
    "5-3": lambda values: percentile(values, 60),
    "5-4": lambda values: percentile(values, 80),
    "skew": _skew,
    "kurtosis": _kurtosis,
}
WITHOUT_UNIT = frozenset({"count", "total-count", "skew", "kurtosis"})
SQUARED = frozenset({"variance"})  # of the unit
