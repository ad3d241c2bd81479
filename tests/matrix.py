"""Prints which kernel ran with which define set on which device, from the records of test runs; fails on a gap.

    python -m tests.matrix FOLDER [FOLDER ...]

Each folder is what ``pytest --record FOLDER`` wrote, and becomes a column.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clconv.native.table import defines_text
from tests.test_matrix import ENTRIES


def main(folders):
    columns = []
    for folder in map(Path, folders):
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        for device in sorted({device for record in records for device in record}):
            parts = [record[device] for record in records if device in record]
            columns.append(
                (
                    f"{folder.name}/{device}",
                    {launch for part in parts for launch in part["launches"]},
                    sum(part["cases"] for part in parts),
                    max(part["worst"] for part in parts),
                )
            )
        if not records:
            print(f"nothing ran for {folder}")
            return 1
    gaps = 0
    for number, (name, _, cases, worst) in enumerate(columns, start=1):
        print(f"[{number}] {name}: {cases} cases, worst error {worst:.3g} of its bound")
    print(f"{'':48s}" + "".join(f"[{number}]".rjust(5) for number in range(1, len(columns) + 1)))
    for file, kernel, defines in ENTRIES:
        entry = f"{file} {kernel} {defines_text(defines)}"
        ran = [entry in launches for _, launches, _, _ in columns]
        gaps += ran.count(False)
        print(f"{entry:48s}" + "".join(("ran" if yes else "GAP").rjust(5) for yes in ran))
    print(f"{gaps} gaps")
    return int(gaps > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
