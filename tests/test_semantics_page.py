"""docs/semantics.md: its examples, its pictures, and the numbers in its tables, evaluated in the systems themselves."""

from __future__ import annotations

import doctest
import functools
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from clconv.oracle import Claims
from clconv.oracle.operations import OPERATIONS
from tests.semantics_systems import SYSTEMS, installed, shown

FOLDER = Path(__file__).parents[1] / "docs"
PAGE = FOLDER / "semantics.md"
PICTURES = FOLDER / "pictures"
LARGEST = 60_000  # bytes of a picture


class Part(NamedTuple):
    """What is under one heading."""

    heading: str
    text: str


def parts() -> list[Part]:
    """Split the page at its headings."""
    pieces = re.split(r"^#+ (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return [Part(heading, text) for heading, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text: str) -> list[list[list[str]]]:
    """Return the tables in a text: rows of cells, the header first, without the line below it."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [[cells(line) for n, line in enumerate(table.splitlines()) if n != 1] for table in found]


PARTS = parts()
VERSIONS = {row[0]: row[1] for row in tables(PARTS[0].text)[1][1:]}


class Row(NamedTuple):
    """A call in one of the page's tables, under the heading whose examples define its arrays."""

    part: Part
    system: str
    call: str
    expected: dict[str, str]  # by what its column's header defines


def rows() -> list[Row]:
    found = []
    for part in PARTS:
        for header, *lines in (t for t in tables(part.text) if t[0][0] == "system" and t[0][-1] == ""):
            bindings = [name.strip("`") if name.startswith("`") else "" for name in header[2:-1]]
            for system, call, *results, verified in lines:
                if verified == "run":
                    expected = dict(zip(bindings, results, strict=True))
                    found.append(Row(part, system, call.strip("`"), expected))
    return found


ROWS = rows()
MARKS = {"torch": pytest.mark.torch, "SciPy": (), "NumPy": ()}


@functools.cache
def names_of(part: Part) -> dict[str, Any]:
    """Run the examples of a part, after those of the introduction, and return what they define."""
    names: dict[str, Any] = {}
    for text in (PARTS[0].text, part.text):
        example = doctest.DocTestParser().get_doctest(text, names, part.heading, str(PAGE), 0)
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(example, clear_globs=False, out=lambda _: None)
        names = example.globs
    return names


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.heading)
def test_examples(part):
    introduction = "" if part is PARTS[0] else PARTS[0].text
    test = doctest.DocTestParser().get_doctest(introduction + part.text, {}, part.heading, str(PAGE), 0)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=MARKS.get(row.system, pytest.mark.peers), id=f"{row.system}: {row.call}") for row in ROWS],
)
def test_calls(row):
    version = installed(row.system)
    if version is None:
        pytest.skip(f"{row.system} is not installed")
    got = {binding: evaluated(row, binding) for binding in row.expected}
    if got != row.expected and version != VERSIONS[row.system]:
        pytest.skip(f"{row.system} {version} returns {got}, the page speaks of {VERSIONS[row.system]}")
    assert got == row.expected


def evaluated(row: Row, binding: str) -> str:
    """Evaluate a call in its system; an exception of its own is a refusal."""
    arrays = {name: value for name, value in names_of(row.part).items() if isinstance(value, np.ndarray)}
    names = SYSTEMS[row.system][1](arrays)
    exec(binding.replace(", ", "; "), names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the systems, about NaN and even kernels
        try:
            return shown(eval(row.call, names))
        except (NameError, AttributeError, SyntaxError):
            raise  # the call itself is wrong
        except Exception:
            return "refused"


def test_every_system_was_run():
    assert {row.system for row in ROWS} == set(SYSTEMS) == set(VERSIONS)


@pytest.mark.peers
def test_the_texts_of_onnx():
    defs = pytest.importorskip("onnx", reason="onnx is not installed").defs
    for operator, without, having in (("MaxPool", 12, 22), ("AveragePool", 19, 22)):
        assert "ignored" not in defs.get_schema(operator, without).doc
        assert "start in the right padded region are ignored" in defs.get_schema(operator, having).doc
    swapped = "If (auto_pads != SAME_UPPER): pads[start_i] = total_padding[i]/2"
    assert swapped in defs.get_schema("ConvTranspose", 1).doc
    assert swapped.replace("!=", "==") in defs.get_schema("ConvTranspose", 11).doc


def test_the_semantics_that_the_checker_knows():
    for operations, semantics, _ in tables(PARTS[0].text)[0][1:]:
        for name in re.findall(r"`(\w+)`", operations):
            assert tuple(re.findall(r"`(\w+)`", semantics)) == OPERATIONS[name].semantics, name


def test_every_dispute_is_on_the_page():
    """Those of gradients are the forward operation's."""
    disputes = set()
    for operation in (o for name, o in OPERATIONS.items() if not name.endswith("_backward")):
        features = frozenset(operation.features)
        for claims in (Claims(semantics=semantics, features=features) for semantics in operation.semantics):
            problems = [*operation.edges(claims), *(r.problem for r in operation.refusals(claims))]
            disputes |= {problem.disputed for problem in problems}
    (table,) = (t for part in PARTS for t in tables(part.text) if t[0][0].startswith("what a deviation"))
    assert disputes - {""} <= {row[0].replace("`", "") for row in table}


# --- pictures


def test_pictures_are_there_and_small():
    shown_here = re.findall(r"!\[.+\]\((.*)\)", PAGE.read_text())
    assert sorted(PICTURES.glob("*.svg")) == sorted(FOLDER / name for name in shown_here)
    for name in shown_here:
        assert (FOLDER / name).stat().st_size < LARGEST, name


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text()):
        assert (FOLDER / target).exists(), target


@pytest.fixture
def content(monkeypatch):
    """Return the module that says what is in the pictures."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import semantics_pictures

    return semantics_pictures


def test_the_content_of_the_pictures_needs_no_matplotlib(content):
    """Every text in a picture's content is in its file, which is text, too."""
    for name, made in content.PICTURES.items():
        drawn = (PICTURES / f"{name}.svg").read_text()
        picture = made()
        if isinstance(picture, content.Strips):
            texts = [row.label for row in picture.rows] + [bar.text for row in picture.rows for bar in row.bars]
        elif isinstance(picture, content.Grids):
            texts = [text for _, values, _ in picture.panels for row in values for text in row]
        elif isinstance(picture, content.Points):
            texts = [*picture.labels, *picture.panels]
        else:
            texts = [label for label, _, _, _ in picture.lines] + list(picture.axes)
        missing = {text for text in texts if text.replace("'", "&apos;") not in drawn and text not in drawn}
        assert not missing, name


def test_the_script_draws_the_same_bytes(content, tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    import draw_semantics

    draw_semantics.write(tmp_path)
    for path in sorted(PICTURES.glob("*.svg")):
        drawn_by = re.search(r"Matplotlib v([\w.]+)", path.read_text())[1]
        if drawn_by != matplotlib.__version__:
            pytest.skip(f"the pictures were drawn by Matplotlib {drawn_by}, {matplotlib.__version__} is installed")
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
