"""The oracle by itself: it imports nothing of the rest of clconv, and works where nothing was compiled."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from clconv import oracle

FOLDER = Path(oracle.__file__).parent
LIBRARIES = {"numpy", "scipy", "hypothesis"}
# Imported in functions only, where another system is called, or a table is drawn.
OPTIONAL = {"ml_dtypes", "rich"}


def imported(path):
    """Yield what a module imports, and whether it does so at its top."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in tree.body
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module, node in tree.body


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_imports(path):
    for name, is_at_top in imported(path):
        package = name.partition(".")[0]
        if package == "clconv":
            assert name.startswith("clconv.oracle"), f"{path} imports {name}"
        elif package not in sys.stdlib_module_names | LIBRARIES:
            assert not is_at_top, f"{path} imports {name} when it is imported"
            assert package in OPTIONAL or path.parent.name == "adapters", f"{path} imports {name}"


def test_it_works_where_nothing_was_compiled():
    program = """
import sys
sys.modules["clconv.native._native"] = None
sys.modules["pyopencl"] = None
from clconv.oracle import check
from tests.small_implementations import flipped
report = check(flipped, op="conv1d", max_examples=10, skip=["hostile"])
assert report.findings[0].cause == "the kernel is flipped"
print(report.cases)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) > 20
