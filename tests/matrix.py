"""Prints which kernel ran with which define set on which device, from the records of test runs; fails on a gap.

    python -m tests.matrix FOLDER [FOLDER ...]

Each folder is what ``pytest --record FOLDER`` wrote, and becomes a column for each device; records that several runs
wrote into folders of that folder count together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ENTRIES, entry_text


class Column(NamedTuple):
    """What ran on one device in one run of the tests."""

    name: str
    expected: set[str]
    launches: set[str]
    cases: int
    worst: float

    def cell(self, entry):
        """Return whether an entry ran, or is not for this device, or should have run."""
        if entry in self.launches:
            return "ran"
        return "GAP" if entry in self.expected else "-"


def columns_of(folder):
    """Yield a column for every device in a folder of records."""
    records = [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]
    for device in sorted({device for record in records for device in record}):
        parts = [record[device] for record in records if device in record]
        yield Column(
            f"{folder.name}/{device}",
            {entry for part in parts for entry in part["expected"]},
            {launch for part in parts for launch in part["launches"]},
            sum(part["cases"] for part in parts),
            max(part["worst"] for part in parts),
        )


def main(folders):
    columns = []
    for folder in map(Path, folders):
        found = list(columns_of(folder))
        if not found:
            print(f"nothing ran for {folder}")
            return 1
        columns += found
    for number, column in enumerate(columns, start=1):
        print(f"[{number}] {column.name}: {column.cases} cases, worst error {column.worst:.3g} of its bound")
    print(f"{'':56s}" + "".join(f"[{number}]".rjust(5) for number in range(1, len(columns) + 1)))
    gaps = []
    for entry in (entry_text(*entry) for entry in ENTRIES):
        cells = [column.cell(entry) for column in columns]
        gaps += [f"{entry}: not run in [{number}]" for number, cell in enumerate(cells, start=1) if cell == "GAP"]
        print(f"{entry:56s}" + "".join(cell.rjust(5) for cell in cells))
    print(f"{len(gaps)} gaps", *gaps, sep="\n")
    return int(bool(gaps))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
