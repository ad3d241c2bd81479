"""Refuses, in kernel files, what the two languages spell differently or what loosens arithmetic.

    python -m tests.dialect_lint

The raw forms belong in dialect.h, half.h, math.h and vector.h alone. Kernels under kernels/gpu/ are OpenCL only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from clconv import kernel_source

ALLOWED_FILES = {"dialect.h", "half.h", "math.h", "vector.h"}

FORBIDDEN = {
    r"\bv(load|store)\w*\s*\(": "use load and store of dialect.h",
    r"\bhalf\b": "half is a storage format: use element and real",
    r"\b(float|double)\b": "use element or real, so that every dtype compiles",
    r"\blong\b": "use index64: C's long has 32 bits on some hosts",
    r"\b(float|double|int|uint|long)(2|3|4|8|16)\b": "vectors are spelled by dialect.h",
    r"\.s[0-9a-fA-F]\b|\.(lo|hi|even|odd|xyzw?)\b": "lanes are spelled by dialect.h",
    r"\bm(ad|ad24|ul24)\s*\(": "mad may be unfused or inexact: write a*b + c",
    r"\b(native|half)_\w+\s*\(": "loosens arithmetic",
    r"\bconvert_\w+\s*\(|\bas_\w+\s*\(": "conversions are spelled by dialect.h",
    r"\b(exp|log|pow|tanh|erf|sqrt|rsqrt|fma|fmax|fmin|isnan|isinf)\s*\(": "not the same in both: spell it in a header",
    r"\batomic_\w+\s*\(|\batom_\w+\s*\(": "atomics make results depend on order",
    r"\bget_(global|local|group)_\w+\s*\(": "use WORK_ITEM_INDEX",
    r"\b(local|__local|barrier)\b": "kernels that need local memory belong in kernels/gpu",
    r"\b__(kernel|global|constant|private)\b": "write the qualifiers without underscores",
    r"#\s*pragma": "pragmas differ between compilers",
}


def findings(name: str, text: str) -> list[str]:
    """Return a line for every forbidden form in a kernel file, comments apart."""
    if name in ALLOWED_FILES:
        return []
    without_comments = re.sub(r"/\*.*?\*/", lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.DOTALL)
    return [
        f"{name}:{number}: {match[0]!r}: {reason}"
        for number, line in enumerate(without_comments.splitlines(), start=1)
        for pattern, reason in FORBIDDEN.items()
        for match in re.finditer(pattern, line.partition("//")[0])
    ]


def main() -> int:
    folder = kernel_source.folder()
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in {".cl", ".h"} and "gpu" not in path.parts]
    found = [line for path in paths for line in findings(path.name, Path(path).read_text(encoding="utf-8"))]
    print("\n".join(found) or f"{len(paths)} kernel files speak the common dialect")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
