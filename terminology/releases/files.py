"""The files of a release as its publisher gives them out: a zip, the folder that it was unpacked to, or one file."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, NamedTuple

from terminology.releases.schema import FORMAT

CHUNK = 1 << 20
csv.field_size_limit(1 << 24)


class NotARelease(Exception):
    """What is not there, or cannot be read, in a sentence for who brought the file."""


class Member(NamedTuple):
    """A file of a release; `place` is its path in there."""

    place: str
    size: int
    open: Callable[[], IO[bytes]]

    @property
    def name(self) -> str:
        return PurePosixPath(self.place).name


class Files:
    """Open until the `with` ends. `read` is told how many bytes were read."""

    def __init__(self, path: Path, read: Callable[[int], None] = lambda count: None) -> None:
        self.path = path
        self.read = read
        self._open = ExitStack()
        self.members = sorted(self._found(), key=lambda member: member.place)

    def __enter__(self) -> Files:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _found(self) -> list[Member]:
        if self.path.is_dir():
            files = [each for each in self.path.rglob("*") if each.is_file()]
            return [_of_folder(each, each.relative_to(self.path).as_posix()) for each in files]
        if not zipfile.is_zipfile(self.path):
            return [_of_folder(self.path, self.path.name)]
        archive = self._open.enter_context(zipfile.ZipFile(self.path))
        return [_of_archive(archive, each) for each in archive.infolist() if not each.is_dir()]

    def all(self, pattern: str) -> list[Member]:
        """Those of which the end of the path is like this, whatever its case."""
        wanted = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
        return [each for each in self.members if wanted.fullmatch(each.place)]

    def one(self, pattern: str, what: str) -> Member:
        found = self.all(pattern)
        if len(found) != 1:
            how = "there is no" if not found else f"{len(found)} files could be the"
            raise NotARelease(f"{self.path.name}: {how} {what} in it")
        return found[0]

    def size(self) -> int:
        return sum(each.size for each in self.members)

    def fingerprint(self) -> str:
        """Of all that is in it: the same files are the same release."""
        digest = hashlib.sha256(f"{FORMAT}\0".encode())
        for member in self.members:
            digest.update(f"{member.place}\0{member.size}\0".encode())
            with member.open() as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    # what is in them

    def lines(self, member: Member) -> Iterator[str]:
        """Without their ends. Lines end with LF, CR LF or nothing else: texts may hold whatever Unicode has."""
        try:
            with member.open() as file, io.TextIOWrapper(file, "utf-8-sig", newline="\n") as text:
                for line in text:
                    self.read(len(line))
                    yield line.rstrip("\r\n")
        except (UnicodeDecodeError, zipfile.BadZipFile, EOFError) as error:
            raise NotARelease(f"{member.place} cannot be read: {error}") from error

    def rows(self, member: Member, *columns: str, separator: str = ",") -> Iterator[tuple[str, ...]]:
        """Of a csv or tab-separated file with a line of names: these columns of each row, in this order.

        A column with a question mark may be missing, and is empty then.
        """
        rows: Iterator[list[str]]
        if separator == ",":
            rows = csv.reader(f"{line}\n" for line in self.lines(member))
        else:
            rows = (line.split(separator) for line in self.lines(member) if line)
        names = next(rows, [])
        if missing := [each for each in columns if each.rstrip("?") not in names and not each.endswith("?")]:
            raise NotARelease(f"{member.place} has no column {missing[0]}")
        places = [names.index(name) if (name := each.rstrip("?")) in names else None for each in columns]
        for number, row in enumerate(rows, 2):
            if len(row) != len(names):
                raise NotARelease(f"{member.place}, row {number}: {len(row)} columns instead of {len(names)}")
            yield tuple(["" if place is None else row[place] for place in places])


def _of_folder(path: Path, place: str) -> Member:
    return Member(place, path.stat().st_size, lambda: path.open("rb"))


def _of_archive(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    return Member(info.filename, info.file_size, lambda: archive.open(info))
