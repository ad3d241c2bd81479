"""Built programs are kept in the process and on disk, and no state of the disk is an error."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.devices import executor_for
from clconv.executor import layouts_of, watched_runs
from tests.threads import run_in_threads

cl = pytest.importorskip("pyopencl")
binding = importlib.import_module("clconv.opencl.binding")
programs = importlib.import_module("clconv.opencl.programs")
found_devices = importlib.import_module("clconv.opencl.devices")

keeps_its_own = programs.keeps_its_own

USABLE = [device.name for device in clconv.devices() if device.kind != "native" and device.problem is None]
if not USABLE:
    pytest.skip("no usable OpenCL device", allow_module_level=True)
on_opencl = pytest.mark.parametrize("name", USABLE)

#: An operation of one program, whatever the device.
X = np.arange(-12, 12, dtype="float32")
Y = np.maximum(X, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the programs, empty, of drivers that are all taken to keep nothing themselves."""
    monkeypatch.setenv("CLCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "keeps_its_own", lambda device: False)
    return tmp_path / "cache" / "programs"


@pytest.fixture
def builds(monkeypatch):
    """Records every build: "source" or "binary"."""
    made = []
    real = cl.Program

    def recorded(*args):
        made.append("source" if isinstance(args[1], str) else "binary")
        return real(*args)

    monkeypatch.setattr(cl, "Program", recorded)
    return made


def rectify(name):
    """Compute in a context that has built nothing yet."""
    device = next(entry.device for entry in found_devices.found() if entry.name == name)
    result = clconv.relu(X, device=cl.Context([device]))
    np.testing.assert_array_equal(result, Y)


def only_entry(cache):
    [entry] = cache.iterdir()
    return entry


def test_the_cache_is_in_the_folder_of_clconv_cache_dir_and_else_in_the_users(cache, monkeypatch):
    assert programs.cache_folder() == cache
    monkeypatch.setenv("CLCONV_CACHE_DIR", "")
    assert programs.cache_folder().parent == programs.Path(programs.platformdirs.user_cache_dir("clconv"))


@on_opencl
def test_a_process_builds_a_program_once_for_each_define_set(name, builds):
    device = next(entry.device for entry in found_devices.found() if entry.name == name)
    with clconv.use(cl.Context([device])):
        for _ in range(3):
            clconv.relu(X)
        assert builds == ["source"]
        clconv.relu(X.astype("float16"))
        assert builds == ["source"] * 2


@on_opencl
def test_what_one_context_has_built_another_takes_from_disk(name, cache, builds):
    rectify(name)
    rectify(name)
    assert builds == ["source", "binary"]
    assert only_entry(cache).suffix == ".bin"


def flipped(position):
    def flip(content):
        changed = bytearray(content)
        changed[position] ^= 1
        return bytes(changed)

    return flip


DAMAGE = {
    "empty": lambda content: b"",
    "a-few-bytes": lambda content: content[:10],
    "header-only": lambda content: content[: len(programs._MAGIC) + 64],
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "flipped-in-the-header": flipped(0),
    "flipped-in-the-key": flipped(20),
    "flipped-in-the-hash": flipped(len(programs._MAGIC) + 40),
    "flipped-in-the-binary": flipped(-100),
    "something-else": lambda content: b"#!/bin/sh\n" * 1000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@on_opencl
def test_a_damaged_entry_is_built_again_and_replaced(name, damage, cache, builds):
    rectify(name)
    entry = only_entry(cache)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    builds.clear()
    rectify(name)
    assert builds == ["source"]
    builds.clear()
    rectify(name)
    assert builds == ["binary"]
    assert only_entry(cache) == entry


@on_opencl
def test_an_entry_of_another_program_is_not_used_under_this_name(name, cache, builds):
    rectify(name)
    entry = only_entry(cache)
    clconv.unfold(X.reshape(1, 2, 12), (3,), device=name)
    context = executor_for(name, X, "float32")._programs.context
    clconv.unfold(X.reshape(1, 2, 12), (3,), device=context)
    [other] = [path for path in cache.iterdir() if path != entry]
    entry.write_bytes(other.read_bytes())
    builds.clear()
    rectify(name)
    assert builds == ["source"]


@on_opencl
def test_a_binary_that_the_driver_refuses_is_built_again_and_replaced(name, cache, builds):
    """The entry is whole and has the right key: only the driver can tell."""
    rectify(name)
    entry = only_entry(cache)
    whole = entry.read_bytes()
    key = whole[len(programs._MAGIC) :][:32]
    foreign = b"this is no program for any device"
    entry.write_bytes(programs._MAGIC + key + hashlib.sha256(foreign).digest() + foreign)
    builds.clear()
    rectify(name)
    assert builds == ["binary", "source"]
    builds.clear()
    rectify(name)
    assert builds == ["binary"]


@on_opencl
def test_an_entry_that_cannot_be_read_or_replaced_is_no_error(name, cache, builds):
    rectify(name)
    entry = only_entry(cache)
    entry.unlink()
    (entry / "not empty").mkdir(parents=True)
    builds.clear()
    rectify(name)
    rectify(name)
    assert builds == ["source"] * 2
    assert only_entry(cache) == entry, "a temporary file was left behind"


@pytest.mark.parametrize("below", ["cache", "cache/programs"])
@on_opencl
def test_a_file_in_place_of_the_folder_is_no_error(name, below, tmp_path, builds):
    blocking = tmp_path / below
    blocking.parent.mkdir(exist_ok=True)
    blocking.write_text("in the way")
    rectify(name)
    rectify(name)
    assert builds == ["source"] * 2
    assert blocking.read_text() == "in the way"


@on_opencl
def test_a_full_disk_is_no_error_and_leaves_no_temporary_file(name, cache, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs.os, "replace", full)
    rectify(name)
    assert list(cache.iterdir()) == []


@on_opencl
def test_a_driver_that_gives_no_binary_is_no_error(name, cache, monkeypatch):
    monkeypatch.setattr(programs, "_binary_of", lambda program, device: b"")
    rectify(name)
    assert not cache.exists()


@on_opencl
def test_what_a_driver_keeps_itself_is_not_stored_beside_it(name, cache, builds, monkeypatch):
    monkeypatch.setattr(programs, "keeps_its_own", lambda device: True)
    monkeypatch.setattr(programs, "_binary_of", lambda program, device: pytest.fail("a binary was asked for"))
    rectify(name)
    rectify(name)
    assert builds == ["source", "source"]
    assert not cache.exists()


@pytest.mark.parametrize(("platform", "keeps"), [("Portable Computing Language", True), ("Intel(R) OpenCL", False)])
def test_pocl_keeps_its_own(platform, keeps):
    assert keeps_its_own(SimpleNamespace(platform=SimpleNamespace(name=platform))) == keeps


@on_opencl
def test_the_key_tells_sources_options_and_devices_apart(name, monkeypatch):
    """Whatever the binary depends on is in its key: another value of any of them gives another entry."""
    device = executor_for(name, None, "float32").device
    facts = ("name", "version", "driver_version", "extensions", "native_vector_width_float")
    known = {fact: getattr(device, fact) for fact in facts}
    platform = {fact: getattr(device.platform, fact) for fact in ("name", "version")}

    def key(source="kernel", options=("-DELEMENT=32",), *, platform=platform, **other):
        described = type("Described", (), {**known, **other, "platform": type("Platform", (), platform)})
        return programs.Programs(None, described)._key(source, list(options))

    keys = [
        key(),
        key("another kernel"),
        key(options=("-DELEMENT=16",)),
        *(key(**{fact: 1 if isinstance(known[fact], int) else "other"}) for fact in facts if known[fact] != 1),
        key(platform={**platform, "version": "other"}),
        key(platform={**platform, "name": "other"}),
    ]
    monkeypatch.setenv("PYOPENCL_BUILD_OPTIONS", "-cl-mad-enable")
    keys.append(key())
    monkeypatch.delenv("PYOPENCL_BUILD_OPTIONS")
    assert len(set(keys)) == len(keys)
    assert key() == programs.Programs(None, device)._key("kernel", ["-DELEMENT=32"])


@on_opencl
def test_a_build_that_fails_is_a_build_error_with_the_compilers_log(name, monkeypatch):
    broken = "kernel void activation(global float *x) { there_is_no_such_function(x); }\n"
    monkeypatch.setattr(kernel_source, "expanded", lambda file: broken)
    with pytest.raises(
        clconv.BuildError, match=r"(?s)cannot build activation.cl with -cl-std=CL1.2 -DELEMENT=32:\n.*no_such_func"
    ):
        rectify(name)


@on_opencl
def test_each_thread_has_its_own_kernel_of_one_program(name, builds):
    """A kernel's arguments are state: two threads that set them on one kernel would run each other's."""
    device = next(entry.device for entry in found_devices.found() if entry.name == name)
    with watched_runs() as runs:
        rectify(name)
    builds.clear()
    shared = binding.bindings_of(programs.Programs(cl.Context([device]), device))
    bound = []
    start = threading.Barrier(4)

    def work():
        start.wait()
        plans = [shared.bound(run.plan, layouts_of(run.operands)) for run in 2 * runs]
        assert plans[0] is plans[-1]
        bound.append(plans[0])

    run_in_threads(work, [()] * 4)
    assert len({launch.kernel.int_ptr for plan in bound for launch in plan.launches}) == 4
    assert builds == ["binary"]


@on_opencl
def test_many_threads_that_build_at_once_get_right_results_and_no_warning(name, cache):
    if "oclgrind" in next(entry.platform.name for entry in found_devices.found() if entry.name == name).lower():
        pytest.skip("oclgrind itself crashes where two threads use it")
    start = threading.Barrier(4)
    done = []

    def work():
        start.wait()
        rectify(name)
        done.append(True)

    run_in_threads(work, [()] * 4)
    assert len(done) == 4
    assert only_entry(cache).suffix == ".bin"


@on_opencl
def test_two_processes_that_build_at_once_get_right_results_and_share_the_entry(name, cache):
    code = textwrap.dedent("""
        import sys
        import numpy, clconv
        from clconv.opencl import programs
        programs.keeps_its_own = lambda device: False
        x = numpy.arange(-12, 12, dtype="float32")
        with clconv.use(sys.argv[1]):
            print("ready", flush=True)
            sys.stdin.readline()
            print(clconv.relu(x).tolist())
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for _ in range(2)
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output == f"{Y.tolist()}\n"
    assert only_entry(cache).suffix == ".bin"
