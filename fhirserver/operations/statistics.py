"""The statistics of Observation/$stats, by their codes.

https://hl7.org/fhir/R4/valueset-observation-statistics.html. Percentiles are interpolated between the two nearest
values, as by numpy's default; `std-dev` and `variance` are those of a sample, `skew` and `kurtosis` (0 for the normal
distribution) those of the values as they are. What is not defined for so few values is None.

What is computed is exact, or of as many digits as numbers have here; `Precision` says how many of them mean something.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from functools import cached_property
from typing import NamedTuple

from fhirserver.fhir.units import UCUM

DAY = timedelta(days=1)
MORE = 2  # digits than were measured
_DIFFERENCE = {"Cel": "K", "[degF]": "[degR]"}  # UCUM has no products with a scale that does not begin at nothing
_SIMPLE = re.compile(r"[A-Za-z]*(?:\[\w+\])?")


@dataclass(frozen=True)
class Sample:
    """Measured values, each with its time where that is known; ordered and summed up once for all statistics."""

    measured: tuple[tuple[datetime | None, Decimal], ...]

    @cached_property
    def ordered(self) -> list[Decimal]:
        return sorted(value for _, value in self.measured)

    @cached_property
    def total(self) -> Decimal:
        return sum(self.ordered, Decimal(0))

    @cached_property
    def deviations(self) -> list[float]:
        """How far each value is from the mean."""
        mean = self.total / len(self.ordered)
        return [float(value - mean) for value in self.ordered]

    @cached_property
    def squares(self) -> float:
        return math.fsum(each * each for each in self.deviations)


class Precision(NamedTuple):
    """How finely values were measured: the exponent of their last decimal place, and their digits from the first on.

    `60`, `70` and `7.25` have an exponent of -2, and 4 digits from tens to hundredths.
    """

    exponent: int
    digits: int

    @classmethod
    def of(cls, values: Collection[Decimal]) -> Precision:
        """Of values as they were measured, before they were converted to another unit."""
        exponent = min((int(value.as_tuple().exponent) for value in values), default=0)
        return cls(exponent, max((value.adjusted() for value in values if value), default=exponent) - exponent + 1)

    def rounded(self, value: Decimal | float) -> Decimal:
        """A statistic to two digits more than were measured, in all or after the point, whichever are more.

        So sums, percentiles and what was measured stay as they are, a mean says as much as it can tell (62.33 of 60, 62
        and 65), and neither 5.4 mg in g nor 37 Cel in K loses a digit.
        """
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        after_point = exact.adjusted() - self.exponent + 1
        return Context(prec=max(1, self.digits + MORE, after_point + MORE)).plus(exact)


class Line(NamedTuple):
    """A value changes by `gradient` each day; it is `intercept` at `origin`."""

    gradient: float
    intercept: float
    origin: datetime


def percentile(sample: Sample, of_hundred: int) -> Decimal | None:
    ordered = sample.ordered
    if not ordered:
        return None
    whole, part = divmod((len(ordered) - 1) * of_hundred, 100)
    low, high = ordered[whole], ordered[min(whole + 1, len(ordered) - 1)]
    return low + (high - low) * part / 100


def variance(sample: Sample) -> float | None:
    return sample.squares / (len(sample.ordered) - 1) if len(sample.ordered) > 1 else None


def deviation(sample: Sample) -> float | None:
    found = variance(sample)
    return None if found is None else math.sqrt(found)


def _moment(sample: Sample, power: int) -> float | None:
    """The standardized moment; undefined where all values are the same."""
    if not sample.ordered or sample.ordered[0] == sample.ordered[-1]:
        return None
    spread = math.sqrt(sample.squares / len(sample.ordered))
    if spread == 0:  # too close to each other for a float
        return None
    return math.fsum((each / spread) ** power for each in sample.deviations) / len(sample.ordered)


def kurtosis(sample: Sample) -> float | None:
    found = _moment(sample, 4)
    return None if found is None else found - 3


def quartile_deviation(sample: Sample) -> Decimal | None:
    low, high = percentile(sample, 25), percentile(sample, 75)
    return None if low is None or high is None else (high - low) / 2


def regression(sample: Sample) -> Line | None:
    """The line of least squares over time, from the first value on; undefined where there is one time only."""
    dated = [(time, value) for time, value in sample.measured if time is not None]
    if len({time for time, _ in dated}) < 2:
        return None
    origin = min(time for time, _ in dated)
    days = [(time - origin) / DAY for time, _ in dated]
    mean_day = math.fsum(days) / len(days)
    mean = sum((value for _, value in dated), Decimal(0)) / len(dated)
    above = math.fsum((day - mean_day) * float(value - mean) for day, (_, value) in zip(days, dated, strict=True))
    gradient = above / math.fsum((day - mean_day) ** 2 for day in days)
    return Line(gradient, float(mean) - gradient * mean_day, origin)


Statistic = Callable[[Sample], Decimal | float | int | None]
STATISTICS: Mapping[str, Statistic] = {
    "average": lambda sample: sample.total / len(sample.ordered) if sample.ordered else None,
    "maximum": lambda sample: sample.ordered[-1] if sample.ordered else None,
    "minimum": lambda sample: sample.ordered[0] if sample.ordered else None,
    "count": lambda sample: len(sample.ordered),
    "median": lambda sample: percentile(sample, 50),
    "std-dev": deviation,
    "sum": lambda sample: sample.total,
    "variance": variance,
    "20-percent": lambda sample: percentile(sample, 20),
    "80-percent": lambda sample: percentile(sample, 80),
    "4-lower": lambda sample: percentile(sample, 25),
    "4-upper": lambda sample: percentile(sample, 75),
    "4-dev": quartile_deviation,
    "5-1": lambda sample: percentile(sample, 20),
    "5-2": lambda sample: percentile(sample, 40),
    "5-3": lambda sample: percentile(sample, 60),
    "5-4": lambda sample: percentile(sample, 80),
    "skew": lambda sample: _moment(sample, 3),
    "kurtosis": kurtosis,
}
WITHOUT_UNIT = frozenset({"count", "skew", "kurtosis"})


def squared(unit: str) -> str:
    """The unit of a variance: mm[Hg] → mm[Hg]2, mg/dL → mg/dL.mg/dL. UCUM reads a product from left to right."""
    return _combined(
        unit, lambda code: code + (code if code[0] == "/" else "2" if _SIMPLE.fullmatch(code) else f".{code}")
    )


def daily(unit: str | None) -> str:
    """The unit of a change per day."""
    return f"{UCUM}|/d" if unit is None else _combined(unit, lambda code: f"{code}/d")


def _combined(unit: str, combine: Callable[[str], str]) -> str:
    """From and to a stored form: `system|code`, or a name without a system."""
    system, bar, code = unit.rpartition("|")
    return f"{system}{bar}{combine(_DIFFERENCE.get(code, code))}" if code else unit
