"""What is wrong with an expression, or with evaluating it, in one sentence."""

from __future__ import annotations


class FhirPathError(Exception):
    """`position` counts characters from 0 in the expression; None where the fault showed only in the data."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at character {position + 1})")
        self.message = message
        self.position = position
