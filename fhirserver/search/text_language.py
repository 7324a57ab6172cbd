"""The language of `_text` and `_content`, from text to criteria.

    heart failure                       both words; `heart and failure` is the same
    (bone or liver) metastases          one of two and a third; a comma is an `or`
    "heart failure" -suspected          the words in a row; without a word (`not suspected` is the same)
    cardio*                             words that begin like this

`and` binds closer than `or`. Case and accents make no difference, and neither do marks between words: `beta-blocker` is
the phrase "beta blocker". https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

import re

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.criteria import AllOf, AnyOf, Clause, Criterion, Negation, Phrase
from fhirserver.search.filter_language import refused
from fhirserver.search.parameters import Parameter
from fhirserver.search.words import words

MAX_DEPTH = 20
MAX_PHRASES = 100

_space = re.compile(r"\s*")
_chunk = re.compile(r'(?:\\.|[^\s()",\\])+\\?|\\', re.DOTALL)
_quoted = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_minus = re.compile(r"-(?=[^\s),])")
_end_of_word = r'(?![^\s()",])'
_and, _or, _not = (re.compile(word + _end_of_word, re.IGNORECASE) for word in ("and", "or", "not"))
_comma = re.compile(",")


def parse(text: str, parameter: Parameter) -> Criterion:
    """Raises a 400 Outcome that names the position and what is expected there."""
    reader = _Reader(text, parameter)
    found = reader.either()
    if reader.at < len(text):
        raise reader.unexpected("a word")
    return found


class _Reader:
    """Stands at a place of the text, and reads on from there."""

    def __init__(self, text: str, parameter: Parameter) -> None:
        self.text = text
        self.parameter = parameter
        self.at = 0
        self.depth = 0
        self.phrases = 0
        self.skip()

    def either(self) -> Criterion:
        """What stands between `or`s and commas."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise refused(self.at, f"nested more than {MAX_DEPTH} levels deep", "too-costly")
        parts = [self.all()]
        while self.take(_or) or self.take(_comma):
            parts.append(self.all())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def all(self) -> Criterion:
        """Words side by side, with or without `and`."""
        parts = [self.term()]
        while self.take(_and) or not self.ends():
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def ends(self) -> bool:
        return self.at == len(self.text) or self.text[self.at] in ")," or _or.match(self.text, self.at) is not None

    def term(self) -> Criterion:
        if self.take(_minus) or self.take(_not):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise refused(self.at, f"nested more than {MAX_DEPTH} levels deep", "too-costly")
            negation = Negation(self.term())
            self.depth -= 1
            return negation
        if self.at < len(self.text) and self.text[self.at] == "(":
            self.move(1)
            inner = self.either()
            if self.at == len(self.text) or self.text[self.at] != ")":
                raise self.unexpected("')'")
            self.move(1)
            return inner
        return Clause(self.parameter, None, (self.phrase(),))

    def phrase(self) -> Phrase:
        """A word, or what is in quotes."""
        at = self.at
        self.phrases += 1
        if self.phrases > MAX_PHRASES:
            raise refused(at, f"at most {MAX_PHRASES} words and phrases", "too-costly")
        if self.text.startswith('"', at):
            match = _quoted.match(self.text, at)
            if match is None:
                raise refused(at, "the phrase does not end; '\"' is expected")
            said = match[1]
        else:
            match = None if self.ends() or _and.match(self.text, at) else _chunk.match(self.text, at)
            if match is None:
                raise self.unexpected("a word")
            said = match[0]
        found = Phrase(tuple(words(said)), said.rstrip().endswith("*"))
        if not found.words:
            raise refused(at, f"{match[0][:40]} has no letter or digit")
        if "*" in said.rstrip()[:-1]:
            raise refused(at + match[0].index("*"), "'*' stands at the end of a word or phrase only")
        self.move(len(match[0]))
        return found

    def move(self, characters: int) -> None:
        self.at += characters
        self.skip()

    def skip(self) -> None:
        """To the next word or mark: white space, and marks by themselves that ask nothing, as in `salt & pepper`."""
        while True:
            space = _space.match(self.text, self.at)
            self.at = space.end() if space else self.at
            chunk = _chunk.match(self.text, self.at)
            if chunk is None or words(chunk[0]) or self.text[chunk.end() : chunk.end() + 1] in ("(", '"'):
                return
            self.at = chunk.end()

    def take(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.move(len(match[0]))
        return match is not None

    def unexpected(self, expected: str) -> Outcome:
        match = re.compile(r"\w+|\S").match(self.text, self.at)
        found = f"{match[0][:40]!r} stands" if match else "it ends"
        return refused(self.at, f"{found} where {expected} is expected")
