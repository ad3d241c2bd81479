"""Which device an operation runs on, and what happens where there is none."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import clconv
from clconv.devices import executor_for
from tests.threads import run_in_threads

CHOICE = importlib.import_module("clconv.devices")  # the attribute of that name is the function

X = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
W = np.array([[[1, 10, 100]]], dtype=np.float32)
Y = np.array([[[210, 321, 432, 543, 654, 765]]], dtype=np.float32)

NATIVE = clconv.devices()[0]
needs_native = pytest.mark.skipif(NATIVE.problem is not None, reason=str(NATIVE.problem))


def python(code, **environment):
    """Run a program in a new interpreter whose environment chooses no device; return the lines that it printed."""
    variables = {name: value for name, value in os.environ.items() if name not in ("CLCONV_DEVICE", "PYOPENCL_CTX")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture
def no_choice(monkeypatch):
    """Nobody has chosen, and the default was not looked for yet."""
    for name in ("CLCONV_DEVICE", "PYOPENCL_CTX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(CHOICE, "_default_executor", None)


@pytest.fixture
def named(no_choice, monkeypatch):
    """Every OpenCL name stands for a device of that name, and there is a GPU: only the choice itself is under test."""

    def executor(name):
        return SimpleNamespace(name=name, check_dtype=lambda dtype: None)

    monkeypatch.setattr(CHOICE.opencl, "executor_named", executor)
    monkeypatch.setattr(CHOICE.opencl, "best_gpu", lambda: (executor("the gpu"), ""))


def chosen(device=None):
    return executor_for(device, X, "float32").name


def test_an_argument_goes_before_use_before_the_environment_before_a_gpu(named, monkeypatch):
    assert chosen() == "the gpu"
    monkeypatch.setenv("PYOPENCL_CTX", "1:0")
    assert chosen() == "opencl:1:0"
    monkeypatch.setenv("CLCONV_DEVICE", "opencl:2")
    assert chosen() == "opencl:2"
    with clconv.use("opencl:3"):
        assert chosen() == "opencl:3"
        assert chosen("opencl:4") == "opencl:4"
    assert chosen() == "opencl:2"


@needs_native
def test_native_can_be_chosen_in_each_of_these_ways(named, monkeypatch):
    assert chosen("native") == "native"
    with clconv.use("native"):
        assert chosen() == "native"
    monkeypatch.setenv("CLCONV_DEVICE", "native")
    monkeypatch.setenv("PYOPENCL_CTX", "0")
    assert chosen() == "native"


def test_empty_variables_choose_nothing(named, monkeypatch):
    monkeypatch.setenv("CLCONV_DEVICE", "")
    monkeypatch.setenv("PYOPENCL_CTX", "")
    assert chosen() == "the gpu"


def test_use_ends_with_its_block_even_by_an_error_and_nests(named):
    with clconv.use("opencl:1"):
        with contextlib.suppress(KeyError), clconv.use("opencl:2"):
            assert chosen() == "opencl:2"
            raise KeyError
        assert chosen() == "opencl:1"
    assert chosen() == "the gpu"


def test_use_in_one_thread_is_not_seen_by_another(named):
    inside, seen = threading.Event(), threading.Event()
    names = []

    def other():
        names.append(chosen())
        inside.wait(10)
        names.append(chosen())
        with clconv.use("opencl:2"):
            seen.set()

    thread = threading.Thread(target=other)
    thread.start()
    with clconv.use("opencl:1"):
        inside.set()
        assert seen.wait(10)
        assert chosen() == "opencl:1"
    thread.join()
    assert names == ["the gpu", "the gpu"]


@pytest.mark.parametrize("name", ["", "cpu", "cuda", "Native", "openc", "opencl0", "opencl/0", "native:0"])
def test_a_name_of_no_known_form_is_a_value_error_that_lists_the_forms(name, no_choice, monkeypatch):
    words = r'device takes "native", "opencl", "opencl:<platform>".*: device='
    with pytest.raises(ValueError, match=words):
        clconv.conv1d(X, W, device=name)
    with pytest.raises(ValueError, match=words), clconv.use(name):
        pass
    if name:
        monkeypatch.setenv("CLCONV_DEVICE", name)
        with pytest.raises(ValueError, match=words):
            clconv.conv1d(X, W)


@pytest.mark.parametrize("wrong", [0, 1.5, b"native", ("native",), np.array(["native"])])
def test_a_device_that_is_no_name_and_no_object_of_pyopencl_is_a_type_error(wrong):
    pytest.importorskip("pyopencl")
    with pytest.raises(TypeError, match="device takes a name, or a Device, Context or CommandQueue of pyopencl, not "):
        clconv.conv1d(X, W, device=wrong)


@needs_native
def test_the_default_without_a_gpu_is_native_and_is_said_once_even_to_many_threads(no_choice, monkeypatch, caplog):
    monkeypatch.setattr(CHOICE.opencl, "best_gpu", lambda: (None, "no usable OpenCL GPU"))
    caplog.set_level(logging.INFO, "clconv")
    start = threading.Barrier(8)

    def work():
        start.wait()
        results.append(clconv.conv1d(X, W))

    results: list[np.ndarray] = []
    run_in_threads(work, [()] * 8)
    assert len(results) == 8
    assert all(np.array_equal(result, Y) for result in results)
    records = [record for record in caplog.records if record.name == "clconv"]
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("INFO", f"no usable OpenCL GPU: running on the native device, level {NATIVE.description.split()[1][:-1]}")
    ]


def test_with_neither_a_gpu_nor_native_an_opencl_cpu_is_the_default_and_a_warning_says_so(named, monkeypatch, caplog):
    monkeypatch.setattr(CHOICE.opencl, "best_gpu", lambda: (None, "no usable OpenCL GPU"))
    monkeypatch.setattr(CHOICE.native_executor, "why_unusable", lambda: "no compiler")
    assert chosen() == "opencl"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_with_nothing_at_all_the_error_gives_both_reasons(no_choice, monkeypatch):
    def none(name):
        raise clconv.Unsupported("OpenCL finds no device")

    monkeypatch.setattr(CHOICE.opencl, "best_gpu", lambda: (None, "OpenCL finds no device"))
    monkeypatch.setattr(CHOICE.opencl, "executor_named", none)
    monkeypatch.setattr(CHOICE.native_executor, "why_unusable", lambda: "no compiler")
    with pytest.raises(clconv.Unsupported, match=r"not usable \(no compiler\), and OpenCL finds no device"):
        clconv.conv1d(X, W)


def test_a_native_device_that_was_chosen_and_is_not_usable_is_not_replaced(named, monkeypatch):
    monkeypatch.setattr(CHOICE.native_executor, "why_unusable", lambda: "no compiler")
    with pytest.raises(clconv.Unsupported, match="the native device is not usable: no compiler"):
        clconv.conv1d(X, W, device="native")


def test_importing_clconv_imports_no_pyopencl_and_starts_no_thread():
    printed = python("""
        import os, sys, threading
        import numpy
        def tasks():
            return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()
        before = tasks()
        import clconv
        print(tasks() - before, [name for name in sys.modules if name.startswith(("pyopencl", "clconv.opencl."))])
    """)
    assert printed == ["0 []"]


WITHOUT_PYOPENCL = """
    import logging, sys
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "pyopencl":
                raise RuntimeError("it was built for another NumPy")
    BREAK_PYOPENCL
    import numpy as np, clconv
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record)
    logging.getLogger("clconv").addHandler(handler)
    logging.getLogger("clconv").setLevel(logging.INFO)
    x, w = np.arange(5, dtype="float32").reshape(1, 5), np.ones((1, 1, 3), "float32")
    for _ in range(2):
        print(clconv.conv1d(x, w).tolist())
    print([(record.levelname, record.getMessage()) for record in records])
    print([(device.name, device.problem) for device in clconv.devices() if device.name != "native"])
    for device in ("opencl", "opencl:0", "opencl:nvidia:1"):
        try:
            clconv.conv1d(x, w, device=device)
        except clconv.Unsupported as error:
            print(error)
"""


@needs_native
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ('sys.modules["pyopencl"] = None', 'pyopencl is not installed (pip install "clconv[opencl]")'),
        (
            "sys.meta_path.insert(0, Broken())",
            "pyopencl cannot be imported (it was built for another NumPy)",
        ),
        (
            "sys.modules['pyopencl._cl'] = None",
            "pyopencl cannot be imported (import of pyopencl._cl halted; None in sys.modules)",
        ),
    ],
    ids=["missing", "broken", "without-its-loader"],
)
def test_without_a_working_pyopencl_the_default_is_native_and_an_explicit_choice_raises(how, reason):
    if "_cl'" in how:
        pytest.importorskip("pyopencl")
    first, second, records, listed, *errors = python(WITHOUT_PYOPENCL.replace("BREAK_PYOPENCL", how))
    assert first == second == "[[3.0, 6.0, 9.0]]"
    [(level, message)] = eval(records)
    assert level == "INFO"
    assert message.startswith(f"{reason}: running on the native device")
    assert eval(listed) == [("opencl", reason)]
    names = "opencl", "opencl:0", "opencl:nvidia:1"
    assert errors == [f"device={name!r} needs OpenCL, but {reason}" for name in names]


@pytest.mark.parametrize("choice", [{}, {"CLCONV_DEVICE": "opencl"}, {"PYOPENCL_CTX": "no such platform"}])
def test_nobody_is_ever_asked_at_a_terminal(choice):
    """The program's input is a terminal on which nobody types."""
    pty = pytest.importorskip("pty")
    code = """
        import sys, numpy, clconv
        assert sys.stdin.isatty()
        try:
            clconv.conv1d(numpy.ones((1, 4), "float32"), numpy.ones((1, 1, 2), "float32"))
        except clconv.Unsupported:
            pass
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("CLCONV_DEVICE", "PYOPENCL_CTX")}
    terminal, other_end = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdin=other_end,
            env={**variables, **choice},
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(other_end)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
