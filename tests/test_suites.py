"""The oracle as tests of pytest: the base classes, the mark, and what the plugin loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clconv import oracle
from clconv.oracle.operations import OPERATIONS
from tests import small_implementations

SKIP = ["edges", "hostile", "identities"]


class TestSmallConv(oracle.Conv1dSuite):
    """A suite in use: a class, an implementation, nothing else."""

    impl = small_implementations.conv1d
    dtype = "float64"
    max_examples = 10
    skip = (
        "padding 'valid'",
        "padding 'same' of an even kernel",
        "padding 'same' of a dilated kernel",
        *SKIP,
        "exact",
        "bound",
    )


@pytest.mark.clconv_oracle(
    impl=small_implementations.conv1d, op="conv1d", skip=[*SKIP, "exact", "bound"], max_examples=10
)
def test_mark(clconv_examination):
    clconv_examination()


FAILING = """
import pytest
from clconv import oracle
from tests import small_implementations

class TestFlipped(oracle.Conv1dSuite):
    impl = small_implementations.flipped
    max_examples = 20
    skip = ["edges", "hostile", "identities", "bound"]

@pytest.mark.clconv_oracle(small_implementations.flipped, "conv1d", skip=["edges", "hostile", "identities", "bound"])
def test_mark(clconv_examination):
    clconv_examination()

class TestNothing(oracle.Conv1dSuite):
    pass
"""


def pytest_in(folder, text, *arguments):
    (folder / "test_mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments]
    return subprocess.run([*command, str(folder)], capture_output=True, text=True)


def test_every_examination_is_a_test_and_fails_by_itself(tmp_path):
    finished = pytest_in(tmp_path, FAILING.rpartition("class TestNothing")[0], "-q")
    lines = finished.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    assert len(failed) == 2, finished.stdout
    assert "TestFlipped::test[exact: drawn problems]" in failed[0]
    assert "test_mark[exact: drawn problems]" in failed[1]
    assert "the kernel is flipped" in finished.stdout
    assert "got = impl(input, weight)" in finished.stdout


def test_a_suite_without_an_implementation_says_so(tmp_path):
    finished = pytest_in(tmp_path, FAILING, "-q")
    assert "TestNothing needs an implementation: impl = my_function" in finished.stdout


def test_there_is_a_suite_for_every_operation():
    names = {suite.op: name for name, suite in oracle.suites.SUITES.items()}
    assert set(names) == set(OPERATIONS)
    assert names["conv_transpose2d_backward"] == "ConvTranspose2dBackwardSuite"
    assert all(name in oracle.__all__ and hasattr(oracle, name) for name in names.values())
    with pytest.raises(AttributeError, match="NoSuchSuite"):
        _ = oracle.NoSuchSuite


def test_the_plugin_loads_nothing_but_pytest():
    program = "import sys, pytest\nbefore = set(sys.modules)\nimport clconv_pytest\nprint(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "clconv_pytest" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in ("clconv", "numpy", "scipy", "hypothesis")]


def test_pytest_itself_loads_nothing_of_clconv(tmp_path):
    program = "import sys\ndef test_nothing():\n    assert 'clconv' not in sys.modules and 'numpy' not in sys.modules\n"
    finished = pytest_in(tmp_path, program, "-q", "-p", "no:hypothesispytest")
    assert "1 passed" in finished.stdout, finished.stdout
    marks = subprocess.run([sys.executable, "-m", "pytest", "--markers"], capture_output=True, text=True, cwd=tmp_path)
    assert "clconv_oracle(impl, op=None" in marks.stdout
