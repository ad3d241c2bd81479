"""The examples in the documents give what they say."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import clconv

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples(document):
    if "pyopencl" in document.read_text() and not any(d.kind != "native" and not d.problem for d in clconv.devices()):
        pytest.skip("an example is for an OpenCL device, and there is none")
    failed, _ = doctest.testfile(str(document), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_readme_has_examples():
    parsed = doctest.DocTestParser().get_examples((ROOT / "README.md").read_text())
    assert len(parsed) > 20
