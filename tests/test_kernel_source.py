"""The kernel files as text: found, expanded, hashed, and their parameters read."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from clconv import kernel_source
from clconv.kernel_source import KernelParameter
from clconv.native import table

FILES = sorted(path.name for path in kernel_source.folder().rglob("*.cl"))


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Writes kernel files into a folder that is the library's for the test."""
    folder = tmp_path / "some kernels"
    folder.mkdir()
    monkeypatch.setattr(kernel_source, "folder", lambda: folder)

    def write(**files):
        for name, text in files.items():
            (folder / name.replace("_cl", ".cl").replace("_h", ".h")).write_text(text, encoding="utf-8")
        return folder

    for function in (kernel_source.expanded, kernel_source.signatures, kernel_source.sources_hash):
        monkeypatch.setattr(kernel_source, function.__name__, function.__wrapped__)
    return write


def test_includes_are_expanded_once_with_the_files_and_lines_of_messages(kernels):
    kernels(
        a_h='#include "b.h"\nint a;\n',
        b_h="int b;\n",
        c_cl='#include "a.h"\n#include "b.h"\n# include  "a.h"  \nint c;\n#include <stdint.h>\n',
    )
    assert kernel_source.expanded("c.cl").splitlines() == [
        '#line 1 "c.cl"',
        '#line 1 "a.h"',
        '#line 1 "b.h"',
        "int b;",
        '#line 2 "a.h"',
        "int a;",
        '#line 2 "c.cl"',
        "",
        "",
        "int c;",
        "#include <stdint.h>",
    ]


def test_an_include_of_itself_ends(kernels):
    kernels(a_h='#include "b.h"\nint a;\n', b_h='#include "a.h"\nint b;\n')
    assert [line for line in kernel_source.expanded("a.h").splitlines() if line.startswith("int")] == [
        "int b;",
        "int a;",
    ]


@pytest.mark.parametrize("file", FILES)
def test_no_kernel_file_is_left_with_an_include_of_its_own(file):
    assert '#include "' not in kernel_source.expanded(file).replace('#include "half.h"', "")
    assert "#line" in kernel_source.expanded(file)


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parametrize("file", sorted(table.DEFINE_SETS))
def test_messages_of_a_compiler_name_the_kernel_files_own_line(file, tmp_path):
    lines = (kernel_source.folder() / file).read_text(encoding="utf-8").splitlines()
    number = next(index for index, line in enumerate(lines, start=1) if line.startswith("kernel void"))
    text = kernel_source.expanded(file)
    broken = text.replace(lines[number - 1], f"no_such_type x; {lines[number - 1]}", 1)
    assert broken != text
    done = subprocess.run(
        ["cc", "-fsyntax-only", "-x", "c", "-std=gnu11", f"-I{kernel_source.folder()}", "-"],
        input=broken,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{file}:{number}:" in done.stderr


def test_parameters_are_read_through_macros_comments_and_line_ends(kernels):
    kernels(
        m_cl="""
#define WORK_ITEM
#define SIZES const index64 N, /* how
   many */ const int C
#define VIEW(a) \\
    const index64 a##_start, \\
    const index64 a##_n
#define ALL(a) SIZES, VIEW(a)
/* kernel void not_this(int x) { */
// kernel void nor_this(int x) {
static void helper(int x) { }
kernel void one(
    WORK_ITEM
    global const float *x, global real *y, // the result
    ALL(x), VIEW(y), int k)
{
}
kernel void two(WORK_ITEM global int *z) { }
"""
    )

    def number(name, kind="index64"):
        return KernelParameter(kind, name, is_array=False, is_written=False)

    assert kernel_source.signatures("m.cl") == {
        "one": (
            KernelParameter("float", "x", is_array=True, is_written=False),
            KernelParameter("real", "y", is_array=True, is_written=True),
            number("N"),
            number("C", "int"),
            number("x_start"),
            number("x_n"),
            number("y_start"),
            number("y_n"),
            number("k", "int"),
        ),
        "two": (KernelParameter("int", "z", is_array=True, is_written=True),),
    }


@pytest.mark.parametrize("parameter", ["global float **x", "float x[4]", "int *", "struct s x", "float (*f)(int)"])
def test_a_parameter_that_is_neither_array_nor_number_is_refused_with_its_kernel(kernels, parameter):
    kernels(m_cl=f"#define NOTHING int n\nkernel void one({parameter}, int k) {{ }}\n")
    with pytest.raises(ValueError, match=r"m\.cl: one has a parameter that is neither an array nor a number: "):
        kernel_source.signatures("m.cl")


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_writes_an_array_and_every_number_is_of_a_type_that_executors_pass(file):
    signatures = kernel_source.signatures(file)
    assert signatures
    for parameters in signatures.values():
        names = [parameter.name for parameter in parameters]
        assert len(set(names)) == len(names)
        assert any(parameter.is_written for parameter in parameters)
        assert {parameter.type for parameter in parameters if not parameter.is_array} <= {"int", "index64", "real"}


def test_the_hash_changes_with_any_text_and_any_name_and_with_nothing_else(kernels):
    folder = kernels(a_cl="int a;\n", b_h="int b;\n")
    hashes = [kernel_source.sources_hash()]
    (folder / "README.txt").write_text("no source")
    (folder / "a.cl").touch()
    assert kernel_source.sources_hash() == hashes[0]
    kernels(b_h="int c;\n")
    hashes.append(kernel_source.sources_hash())
    (folder / "b.h").rename(folder / "c.h")
    hashes.append(kernel_source.sources_hash())
    (folder / "gpu").mkdir()
    (folder / "c.h").rename(folder / "gpu" / "c.h")
    hashes.append(kernel_source.sources_hash())
    (folder / "gpu" / "c.h").unlink()
    hashes.append(kernel_source.sources_hash())
    (folder / "a.cl").write_text("int a;")
    hashes.append(kernel_source.sources_hash())
    assert len(set(hashes)) == len(hashes)


def test_kernels_inside_the_package_go_before_those_beside_it_and_none_is_an_error(tmp_path, monkeypatch):
    package = tmp_path / "clconv"
    package.mkdir()
    monkeypatch.setattr(kernel_source, "__file__", str(package / "kernel_source.py"))
    find = kernel_source.folder.__wrapped__
    with pytest.raises(FileNotFoundError, match=r"clconv's kernel files are neither in .* nor in "):
        find()
    for folder in (tmp_path / "kernels", package / "kernels"):
        folder.mkdir()
        (folder / "dialect.h").touch()
        assert find() == folder
