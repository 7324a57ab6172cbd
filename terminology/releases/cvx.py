"""CVX, the codes of vaccines administered: a file with bars between the columns.

https://www2a.cdc.gov/vaccines/iis/iisstandards/vaccines.asp?rpt=cvx
"""

from __future__ import annotations

import re
from datetime import date

from terminology.releases.described import Described
from terminology.releases.files import Files, NotARelease
from terminology.releases.staging import Staging

URL = "http://hl7.org/fhir/sid/cvx"
COLUMNS = 7  # code, short description, full name, notes, status, whether it is no vaccine, when it was changed

_code = re.compile(r"\d{2,4}")
_numbers = re.compile(r"\d+")


def read(files: Files, into: Staging) -> Described:
    """In the order of the file. It has no version of its own: the day of its latest change is one."""
    if len(files.members) != 1:
        raise NotARelease(f"{files.path.name}: one file is expected, with bars between the columns")
    (member,) = files.members
    changes: list[date] = []
    for number, line in enumerate(files.lines(member), 1):
        row = [each.strip() for each in line.split("|")]
        if not line.strip() or (number == 1 and not _code.fullmatch(row[0])):
            continue
        if len(row) < COLUMNS or not _code.fullmatch(row[0]):
            raise NotARelease(f"{member.place}, line {number} is none of CVX: {line[:60]!r}")
        code, short, full, notes, status, none, changed = row[:COLUMNS]
        into.concept(code, short, inactive=status.casefold() == "inactive")
        into.designation(code, full, "en-US", {"system": URL, "code": "FullVaccineName"})
        into.property(code, "VaccineStatus", "String", status)
        into.property(code, "nonvaccine", "Boolean", none.casefold() == "true")
        if notes:
            into.property(code, "notes", "String", notes)
        if (day := _date(changed)) is not None:
            changes.append(day)
    return Described(URL, max(changes).isoformat() if changes else "", "CVX")


def _date(text: str) -> date | None:
    """`2024/09/30` or `09/30/2024`, also with a time after it."""
    numbers = [int(each) for each in _numbers.findall(text)[:3]]
    if len(numbers) < 3:
        return None
    year, month, day = numbers if numbers[0] > 31 else (numbers[2], numbers[0], numbers[1])
    try:
        return date(year, month, day)
    except ValueError:
        return None
