"""OpenCL devices: found, tried and chosen; pyopencl's arrays; NumPy arrays in place; threads and forks."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import clconv
from clconv.devices import executor_for
from tests.threads import run_in_threads

cl = pytest.importorskip("pyopencl")
cl_array = pytest.importorskip("pyopencl.array")
found_devices = importlib.import_module("clconv.opencl.devices")
executors = importlib.import_module("clconv.opencl.executor")
runtimes = importlib.import_module("clconv.opencl.runtimes")
shared_memory = importlib.import_module("clconv.opencl.shared_memory")
choice = importlib.import_module("clconv.devices")  # the attribute of that name is the function

LISTED = clconv.devices()
USABLE = [device.name for device in LISTED if device.kind != "native" and device.problem is None]
IN_HOST_MEMORY = [name for name in USABLE if executor_for(name, None, "float32").in_host_memory]
native_too = ["native"] if LISTED[0].problem is None else []

on_opencl = pytest.mark.parametrize(
    "name", USABLE or [pytest.param("", marks=pytest.mark.skip(reason="no usable OpenCL device"))]
)
in_place = pytest.mark.parametrize(
    "name",
    [*native_too, *IN_HOST_MEMORY] or [pytest.param("", marks=pytest.mark.skip(reason="no device in host memory"))],
)
on_cpu = pytest.mark.parametrize(
    "name", IN_HOST_MEMORY or [pytest.param("", marks=pytest.mark.skip(reason="no OpenCL device in host memory"))]
)
everywhere = pytest.mark.parametrize("name", [*native_too, *USABLE])
needs_opencl = pytest.mark.skipif(not USABLE, reason="no usable OpenCL device")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def correlated(x, w, stride=1):
    """Return what clconv.conv1d returns, by NumPy; exact for small integers."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2], axis=2)[:, :, ::stride]
    return np.einsum("ncok,fck->nfo", windows, w)


def integers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def program(code, *arguments, **environment):
    """Run a program in a new interpreter, and return the lines that it printed; a hang is a failure."""
    variables = {name: value for name, value in os.environ.items() if name not in ("CLCONV_DEVICE", "PYOPENCL_CTX")}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # what it forked, too
        child.communicate()
        pytest.fail("the program hangs")
    assert child.returncode == 0, errors
    return output.splitlines()


def entry_of(name):
    return next(entry for entry in found_devices.found() if entry.name == name)


@pytest.fixture
def queue_of():
    """Makes a queue on the device of a name, in a context of its own."""
    contexts = []  # Intel's runtime frees a context that only its queue refers to

    def make(name, properties=0):
        device = entry_of(name).device
        contexts.append(cl.Context([device]))
        return cl.CommandQueue(contexts[-1], device, properties=properties)

    yield make
    contexts.clear()


# Found and tried


def test_every_device_of_every_platform_is_listed():
    names = {
        f"opencl:{p}:{d}": device.name.strip()
        for p, platform in enumerate(runtimes.platforms())
        for d, device in enumerate(platform.get_devices())
    }
    listed = {
        device.name: device.description for device in LISTED if device.kind != "native" and device.name != "opencl"
    }
    assert listed.keys() == names.keys()
    assert all(listed[name].startswith(names[name]) for name in names)


@on_opencl
def test_a_usable_device_convolves(name):
    x, w = integers(2, 3, 40), integers(4, 3, 5, seed=1)
    np.testing.assert_array_equal(clconv.conv1d(x, w, device=name), correlated(x, w))


@pytest.fixture
def found_anew(monkeypatch):
    """What was found is forgotten, and found again after the test."""
    monkeypatch.setattr(found_devices, "_found", None)
    monkeypatch.setattr(choice, "_default_executor", None)
    for variable in ("CLCONV_DEVICE", "PYOPENCL_CTX"):
        monkeypatch.delenv(variable, raising=False)


class Fake:
    """A GPU of a fake platform, which answers questions and builds nothing."""

    type = cl.device_type.GPU
    name, version, driver_version, extensions = "Fake GPU ", "OpenCL 1.2", "0", ""
    available = compiler_available = endian_little = True
    double_fp_config = host_unified_memory = 0
    max_compute_units = max_clock_frequency = global_mem_size = 1

    def __init__(self, **facts):
        self.__dict__.update(facts)


def fake_platform(*devices):
    return SimpleNamespace(name="Fake", version="OpenCL 1.2", get_devices=lambda: devices)


def raising(error):
    def raise_it(*args, **kwargs):
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "it cannot build and run a kernel: "),
        ({"available": False}, "the driver says that the device, or its compiler, is not available"),
        ({"compiler_available": False}, "the driver says that the device, or its compiler, is not available"),
        ({"endian_little": False}, "its byte order is not the host's"),
    ],
)
def test_a_gpu_that_can_build_nothing_is_listed_with_the_reason_and_passed_over(facts, reason, found_anew, monkeypatch):
    others = runtimes.platforms()
    monkeypatch.setattr(found_devices, "platforms", lambda: [fake_platform(Fake(**facts)), *others])
    listed = {device.name: device.problem for device in clconv.devices()}
    assert listed["opencl:0:0"].startswith(reason)
    with pytest.raises(
        clconv.Unsupported, match=f"device='opencl:fake' is not usable: opencl:0:0 'Fake GPU': {reason}"
    ):
        executor_for("opencl:fake", None, "float32")
    if native_too and not any(device.kind == "gpu" for device in LISTED):
        assert executor_for(None, None, "float32").name == "native"
    if USABLE:
        assert executor_for("opencl", None, "float32").name != "opencl:0:0"


@needs_opencl
def test_a_device_that_gives_wrong_results_or_no_build_is_not_usable(found_anew, monkeypatch):
    broken = found_devices.found()[0].device
    build = found_devices.build

    def failing(program, options, device):
        if device == broken:
            raise cl.RuntimeError("clBuildProgram failed: unknown target CPU 'generic'")
        return build(program, options, device)

    monkeypatch.setattr(found_devices, "build", failing)
    assert "unknown target CPU 'generic'" in clconv.devices()[1].problem
    with pytest.raises(clconv.Unsupported, match="unknown target CPU 'generic'"):
        clconv.conv1d(np.ones((1, 3), "float32"), np.ones((1, 1, 2), "float32"), device="opencl:0:0")
    monkeypatch.setattr(found_devices, "build", build)
    monkeypatch.setattr(found_devices, "_found", None)
    monkeypatch.setattr(found_devices, "_PROBE", found_devices._PROBE.replace("3 * x[i]", "2 * x[i]"))
    assert {device.problem for device in clconv.devices()[1:]} == {"a small kernel gave wrong results"}


def test_a_platform_that_cannot_list_its_devices_hides_no_other(found_anew, monkeypatch):
    broken = SimpleNamespace(name="Broken", version="", get_devices=raising(cl.LogicError("DEVICE_NOT_FOUND")))
    others = runtimes.platforms()
    monkeypatch.setattr(found_devices, "platforms", lambda: [broken, *others])
    listed = [device.description for device in clconv.devices() if device.name.startswith("opencl:")]
    assert listed == [device.description for device in LISTED if device.name.startswith("opencl:")]


@pytest.mark.parametrize("platforms", [[], [fake_platform()]], ids=["no-platform", "no-device"])
def test_without_any_device_the_default_is_native_and_an_explicit_choice_raises(
    platforms, found_anew, monkeypatch, caplog
):
    monkeypatch.setattr(found_devices, "platforms", lambda: platforms)
    caplog.set_level(logging.INFO, "clconv")
    x, w = integers(1, 1, 9), integers(1, 1, 2, seed=1)
    reason = "OpenCL finds no device (is a driver installed?)"
    if native_too:
        for _ in range(2):
            np.testing.assert_array_equal(clconv.conv1d(x, w), correlated(x, w))
        [record] = caplog.records
        assert (record.name, record.levelname) == ("clconv", "INFO")
        assert record.getMessage().startswith(f"{reason}: running on the native device")
    assert [(device.name, device.problem) for device in clconv.devices()[1:]] == [("opencl", reason)]
    with pytest.raises(clconv.Unsupported, match="OpenCL finds no device"):
        clconv.conv1d(x, w, device="opencl")


def test_a_loader_that_fails_is_a_reason_and_no_error(found_anew, monkeypatch):
    monkeypatch.setattr(cl, "get_platforms", raising(cl.LogicError("clGetPlatformIDs failed: OUT_OF_HOST_MEMORY")))
    [problem] = [device.problem for device in clconv.devices()[1:]]
    assert problem == "OpenCL's loader fails: clGetPlatformIDs failed: OUT_OF_HOST_MEMORY"
    if native_too:
        assert executor_for(None, None, "float32").name == "native"


@needs_opencl
def test_a_name_that_no_device_has_raises_and_lists_those_that_are_there():
    with pytest.raises(
        clconv.Unsupported, match=r"device='opencl:no such' is no device of OpenCL here; there are: opencl:0:0 '"
    ):
        executor_for("opencl:no such", None, "float32")
    with pytest.raises(clconv.Unsupported, match="device='opencl:0:99' is no device"):
        executor_for("opencl:0:99", None, "float32")


@on_opencl
def test_a_device_is_chosen_by_index_by_parts_of_its_names_and_as_an_object_of_pyopencl(name, queue_of):
    entry = entry_of(name)
    platform, index = name.split(":")[1:]
    queue = queue_of(name)
    x, w = integers(1, 2, 30), integers(3, 2, 4, seed=1)
    for device in (
        f"opencl:{platform}:{index}",
        f"opencl:{entry.platform.version.upper()}:{entry.device.name.strip().lower()}",
        entry.device,
        queue.context,
        queue,
    ):
        assert executor_for(device, x, "float32").device == entry.device
        np.testing.assert_array_equal(clconv.conv1d(x, w, device=device), correlated(x, w))
        with clconv.use(device):
            np.testing.assert_array_equal(clconv.conv1d(x, w), correlated(x, w))


@on_opencl
def test_float64_on_a_device_without_double_is_unsupported(name, monkeypatch):
    monkeypatch.setattr(executors, "has_double", lambda device: False)
    x, w = integers(1, 1, 9), integers(1, 1, 2, seed=1)
    np.testing.assert_array_equal(clconv.conv1d(x, w, device=name), correlated(x, w))
    with pytest.raises(
        clconv.Unsupported, match=rf"\({name}\) has no double precision \(cl_khr_fp64\), which float64 needs"
    ):
        clconv.conv1d(x.astype("float64"), w.astype("float64"), device=name)


# Intel's CPU runtime from PyPI


INTEL = Path(sys.prefix, "lib", "libintelocl.so")
PRINT_DEVICES = """
    import os
    before = dict(os.environ)
    import clconv
    print([device.description for device in clconv.devices() if device.problem is None])
    print(dict(os.environ) == before)
"""


@pytest.mark.skipif(not INTEL.is_file(), reason="intel-opencl-rt is not installed")
def test_intels_runtime_is_listed_with_the_reason_where_the_loader_does_not_see_it():
    assert runtimes.why_hidden(["Intel(R) OpenCL"]) is None
    started_before = "import pyopencl as cl; cl.get_platforms(); import clconv; print(clconv.devices()[-1])"
    environment = {name: value for name, value in os.environ.items() if name not in runtimes._LOADER_VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", started_before], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    # Without any other driver pyopencl itself raises, before clconv is asked.
    assert "OpenCL was started before clconv" in done.stdout or "PLATFORM_NOT_FOUND" in done.stderr


@pytest.mark.skipif(not INTEL.is_file(), reason="intel-opencl-rt is not installed")
def test_intels_runtime_is_registered_and_the_environment_is_as_before():
    environment = {name: value for name, value in os.environ.items() if name not in runtimes._LOADER_VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PRINT_DEVICES)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    devices, unchanged = done.stdout.splitlines()
    assert "Intel(R) OpenCL" in devices
    assert unchanged == "True"


@pytest.mark.parametrize("variable", ["OCL_ICD_VENDORS"])
def test_a_folder_of_vendors_that_the_user_sets_is_respected(variable, tmp_path):
    devices, unchanged = program(PRINT_DEVICES, **{variable: str(tmp_path)})
    assert "(Intel(R) OpenCL)" not in devices
    assert unchanged == "True"


def test_the_systems_registrations_stay_and_those_of_missing_libraries_are_left_out(tmp_path, monkeypatch):
    vendors, target = tmp_path / "vendors", tmp_path / "target"
    vendors.mkdir()
    target.mkdir()
    library = tmp_path / "libthere.so"
    library.touch()
    (vendors / "by-path.icd").write_text(f"{library}\n")
    (vendors / "by-name.icd").write_text("libthere.so.1\n")
    (vendors / "dead.icd").write_text(f"{tmp_path}/libgone.so\n")
    (vendors / "no-text.icd").write_bytes(b"\xff\xfe\n")
    (vendors / "folder.icd").mkdir()
    monkeypatch.setattr(runtimes, "_VENDORS", (vendors, tmp_path / "none"))
    runtimes._register_all(Path("/intel.so"), target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "clconv-intel.icd": "/intel.so\n",
        "by-path.icd": f"{library}\n",
        "by-name.icd": "libthere.so.1\n",
    }


def test_without_a_folder_for_temporary_files_the_systems_platforms_remain(monkeypatch):
    monkeypatch.setattr(runtimes, "_intel_runtime", lambda: INTEL)
    monkeypatch.setattr(runtimes.tempfile, "TemporaryDirectory", raising(OSError("no space left on device")))
    before = dict(os.environ)
    assert len(runtimes.platforms()) == len(cl.get_platforms())
    assert dict(os.environ) == before


# pyopencl's arrays


@on_opencl
def test_a_result_is_on_the_inputs_queue_and_carries_its_event(name, queue_of):
    queue = queue_of(name)
    x, w = integers(2, 3, 50), integers(4, 3, 5, seed=1)
    result = clconv.conv1d(cl_array.to_device(queue, x), cl_array.to_device(queue, w))
    assert isinstance(result, cl_array.Array)
    assert result.queue is queue
    assert result.events
    np.testing.assert_array_equal(result.get(), correlated(x, w))


@on_opencl
def test_an_input_is_awaited_by_the_device_and_not_by_the_caller(name, queue_of):
    """The input's values are written behind an event that nobody sets before the call has returned."""
    if "oclgrind" in entry_of(name).platform.name.lower():
        pytest.skip("oclgrind runs a queue when it waits for it")
    queue = queue_of(name)
    other = cl.CommandQueue(queue.context)
    x = cl_array.zeros(queue, (1, 1, 8), np.float32)
    w = cl_array.to_device(queue, np.ones((1, 1, 2), np.float32))
    queue.finish()
    gate = cl.UserEvent(queue.context)
    values = np.arange(8, dtype=np.float32)
    x.add_event(cl.enqueue_copy(other, x.base_data, values, is_blocking=False, wait_for=[gate]))
    other.flush()
    try:
        result = clconv.conv1d(x, w)
        assert result.events[-1].command_execution_status != cl.command_execution_status.COMPLETE
    finally:
        gate.set_status(cl.command_execution_status.COMPLETE)
    np.testing.assert_array_equal(result.get(), [[[1, 3, 5, 7, 9, 11, 13]]])
    other.finish()


@on_opencl
def test_offsets_strides_and_negative_strides_of_device_arrays_are_followed(name, queue_of):
    queue = queue_of(name)
    host = integers(2, 4, 60)
    w = integers(3, 2, 4, seed=1)
    base, weight = cl_array.to_device(queue, host), cl_array.to_device(queue, w)
    views = {
        "offset": np.s_[1:, 1:3, 5:],
        "steps": np.s_[:, ::2, ::3],
        "backwards": np.s_[::-1, 3:1:-1, ::-1],
    }
    for view in views.values():
        result = clconv.conv1d(base[view], weight)
        np.testing.assert_array_equal(result.get(), correlated(host[view], w))
    reversed_taps = clconv.conv1d(base[:, :2], weight[:, :, ::-1])
    np.testing.assert_array_equal(reversed_taps.get(), correlated(host[:, :2], w[:, :, ::-1]))


@on_opencl
def test_slices_of_a_device_array_are_computed_each_at_its_place(name, queue_of):
    """What is kept for a plan depends on where its arrays begin."""
    queue = queue_of(name)
    x, w = integers(40, 2, 6), integers(3, 2, 3, seed=1)
    on_device, weight = cl_array.to_device(queue, x), cl_array.to_device(queue, w)
    expected = correlated(x, w)
    for first in (0, 1, 39, 7, 0, 1):
        np.testing.assert_array_equal(
            clconv.conv1d(on_device[first : first + 1], weight).get(), expected[first : first + 1]
        )


@on_opencl
def test_out_takes_a_device_array_even_a_strided_view(name, queue_of):
    queue = queue_of(name)
    x, w = integers(1, 2, 30), integers(3, 2, 4, seed=1)
    given = cl_array.to_device(queue, x), cl_array.to_device(queue, w)
    out = cl_array.empty(queue, (1, 3, 27), np.float32)
    assert clconv.conv1d(*given, out=out) is out
    np.testing.assert_array_equal(out.get(), correlated(x, w))
    wide = cl_array.zeros(queue, (1, 3, 54), np.float32)
    clconv.conv1d(*given, out=wide[:, :, ::2])
    queue.finish()
    np.testing.assert_array_equal(wide.get()[:, :, ::2], correlated(x, w))
    np.testing.assert_array_equal(wide.get()[:, :, 1::2], 0)
    with pytest.raises(ValueError, match="out must not overlap an input, but it shares memory with input"):
        clconv.conv1d(given[0], cl_array.to_device(queue, w[:1, :, :1].copy()), out=given[0][:, :1])
    pool = cl_array.zeros(queue, (2, 2, 30), np.float32)
    pool[:1] = x
    clconv.conv1d(pool[:1], given[1][:2], out=pool[1:, :, :27])  # apart in one buffer
    np.testing.assert_array_equal(pool.get()[1:, :, :27], correlated(x, w[:2]))


@on_opencl
def test_out_in_overlapping_parts_of_a_buffer_is_refused(name, queue_of):
    queue = queue_of(name)
    buffer = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, 4096)
    parts = [cl_array.Array(queue, (1, 1, 64), np.float32, data=buffer.get_sub_region(0, 2048)) for _ in range(2)]
    w = cl_array.to_device(queue, np.ones((1, 1, 1), np.float32))
    with pytest.raises(ValueError, match="out must not overlap an input"):
        clconv.conv1d(parts[0], w, out=parts[1])


@on_opencl
def test_gradients_of_device_arrays_are_right_on_a_queue_without_order(name, queue_of):
    """The weight's gradient has two launches with workspace between them."""
    properties = cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
    if not entry_of(name).device.queue_properties & properties:
        pytest.skip("the device has no queues without order")
    queue = queue_of(name, properties)
    x, w, dy = integers(4, 3, 2000), integers(2, 3, 5, seed=1), integers(4, 2, 1996, seed=2)
    expected = clconv.conv1d_backward(dy, x, w, np.zeros(2, "float32"), device=name)
    given = [cl_array.to_device(queue, array) for array in (dy, x, w, np.zeros(2, "float32"))]
    for _ in range(5):
        gradients = clconv.conv1d_backward(*given)
        for gradient, value in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(gradient.get(), value)
    twice = clconv.conv1d(clconv.conv1d(given[1], given[2]), cl_array.to_device(queue, np.ones((1, 2, 2), "float32")))
    np.testing.assert_array_equal(twice.get(), correlated(correlated(x, w), np.ones((1, 2, 2))))
    np.testing.assert_array_equal(clconv.conv1d(x, w, device=queue), correlated(x, w))


@on_opencl
def test_results_come_from_the_inputs_allocator(name, queue_of):
    queue = queue_of(name)
    sizes = []

    def allocator(size):
        sizes.append(size)
        return cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, size)

    x = cl_array.to_device(queue, integers(1, 1, 20), allocator=allocator)
    w = cl_array.to_device(queue, integers(1, 1, 5, seed=1))
    sizes.clear()
    result = clconv.conv1d(x, w)
    assert sizes == [16 * 4]
    assert result.allocator is allocator


@on_opencl
def test_device_arrays_are_not_mixed_with_numpys_nor_between_contexts_and_need_a_queue(name, queue_of):
    queue = queue_of(name)
    x, w = integers(1, 1, 9), integers(1, 1, 2, seed=1)
    on_device = cl_array.to_device(queue, x)
    words = (
        "input is a pyopencl array and weight is a NumPy array: pyopencl.array.to_device.* and array.get.* convert them"
    )
    with pytest.raises(TypeError, match=words):
        clconv.conv1d(on_device, w)
    with pytest.raises(TypeError, match="out must be an array of the inputs' kind"):
        clconv.conv1d(x, w, out=cl_array.empty(queue, (1, 1, 8), np.float32))
    with pytest.raises(ValueError, match="arrays must be of one context and device"):
        clconv.conv1d(on_device, cl_array.to_device(queue_of(name), w))
    with pytest.raises(ValueError, match=r"must have a queue: array.with_queue\(queue\)"):
        clconv.conv1d(on_device.with_queue(None), cl_array.to_device(queue, w))


@on_opencl
def test_device_arrays_stay_on_their_device_whatever_is_in_force(name, queue_of):
    queue = queue_of(name)
    x, w = integers(1, 1, 9), integers(1, 1, 2, seed=1)
    given = cl_array.to_device(queue, x), cl_array.to_device(queue, w)
    np.testing.assert_array_equal(clconv.conv1d(*given, device=name).get(), correlated(x, w))
    for other in {"native", *USABLE} - {name}:
        with pytest.raises(
            ValueError,
            match=f"pyopencl arrays stay on their device and in their context: device='{other}', but the input is on",
        ):
            clconv.conv1d(*given, device=other)
    if native_too:
        with clconv.use("native"), pytest.raises(ValueError, match="pyopencl arrays stay on their device"):
            clconv.conv1d(*given)
    assert clconv.conv1d(*given).queue is queue


# NumPy arrays in place


def views(host):
    """Return views of many kinds of an array of shape (2, 4, 60)."""
    return {
        "whole": host,
        "steps": host[:, ::2, ::3],
        "backwards": host[::-1, :, ::-1],
        "transposed": np.ascontiguousarray(host.transpose(2, 1, 0)).transpose(2, 1, 0),
        "broadcast": np.broadcast_to(host[:1, :1, :20], (5, 3, 20)),
        "diagonal": np.lib.stride_tricks.sliding_window_view(host[0, 0], 20)[None, :4],
    }


@pytest.fixture
def buffers(monkeypatch):
    """Records the flags of every buffer that is made for an array of the host; workspace and tables are none."""
    made = []
    real = cl.Buffer

    def recorded(context, flags, *args, **kwargs):
        is_table = isinstance(kwargs.get("hostbuf"), bytearray)
        if flags & (cl.mem_flags.USE_HOST_PTR | cl.mem_flags.COPY_HOST_PTR) and not is_table:
            made.append(flags)
        return real(context, flags, *args, **kwargs)

    monkeypatch.setattr(cl, "Buffer", recorded)
    return made


@pytest.fixture
def nothing_shared(name, monkeypatch):
    """Let a device share no memory, as those of versions before OpenCL 2.0."""
    nothing = shared_memory.SharedMemory(None, SimpleNamespace(svm_capabilities=0))
    monkeypatch.setattr(executor_for(name, None, "float32"), "_shared", nothing)


@on_cpu
def test_on_a_cpu_no_view_is_copied(name, buffers, nothing_shared):
    for x in views(integers(2, 4, 60)).values():
        w = integers(2, x.shape[1], 3, seed=1)
        buffers.clear()
        np.testing.assert_array_equal(clconv.conv1d(x, w, device=name), correlated(x, w))
        assert len(buffers) == 3
        assert all(flags & cl.mem_flags.USE_HOST_PTR for flags in buffers)


@everywhere
def test_a_large_input_is_not_copied(name):
    """Memory of the host that the call asks for, beside the result, is far below the input's."""
    if name not in [*native_too, *IN_HOST_MEMORY]:
        pytest.skip("the device has memory of its own")
    x = np.ones((1, 2, 2_000_000), "float32")[:, :, ::2]
    w = np.ones((1, 2, 1), "float32")
    clconv.conv1d(x, w, stride=1000, device=name)  # what a kernel needs once is no copy
    tracemalloc.start()
    try:
        result = clconv.conv1d(x, w, stride=1000, device=name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(result, np.full((1, 1, 1000), 2))
    assert peak < 200_000


@pytest.mark.parametrize("forced_copies", [False, True])
@everywhere
def test_a_broadcast_view_of_hundreds_of_gigabytes_works(name, forced_copies, monkeypatch):
    if forced_copies and name != "native":
        monkeypatch.setattr(executor_for(name, None, "float32"), "in_host_memory", False)
    channels = integers(1, 300, 1)
    x = np.broadcast_to(channels, (1, 300, 2**28))
    assert x.nbytes > 300e9
    result = clconv.conv1d(x, np.ones((1, 300, 1), "float32"), stride=2**27, device=name)
    np.testing.assert_array_equal(result, np.full((1, 1, 2), channels.sum()))


@on_opencl
def test_where_memory_is_copied_results_are_the_same_and_each_array_is_copied_tight(name, buffers, monkeypatch):
    monkeypatch.setattr(executor_for(name, None, "float32"), "in_host_memory", False)
    for x in views(integers(2, 4, 60)).values():
        w = integers(2, x.shape[1], 3, seed=1)
        buffers.clear()
        result = clconv.conv1d(x, w, device=name)
        np.testing.assert_array_equal(result, correlated(x, w))
        assert not any(flags & cl.mem_flags.USE_HOST_PTR for flags in buffers)
        wide = np.full((*result.shape[:2], 2 * result.shape[2]), 7, "float32")
        out = wide[:, :, ::-2]
        assert clconv.conv1d(x, w, device=name, out=out) is out
        np.testing.assert_array_equal(out, result)
        np.testing.assert_array_equal(wide[:, :, ::2], 7)
        gradients = clconv.conv1d_backward(result, x, w, device=name)
        monkeypatch.undo()
        for one, other in zip(gradients, clconv.conv1d_backward(result, x, w, device=name), strict=True):
            np.testing.assert_array_equal(one, other)
        monkeypatch.setattr(executor_for(name, None, "float32"), "in_host_memory", False)


@pytest.mark.parametrize("forced_copies", [False, True])
@everywhere
def test_inputs_may_overlap_each_other_and_lie_between_the_results_elements(name, forced_copies, monkeypatch):
    if forced_copies and name != "native":
        monkeypatch.setattr(executor_for(name, None, "float32"), "in_host_memory", False)
    x = integers(1, 1, 40)
    np.testing.assert_array_equal(clconv.conv1d(x, x, device=name), [[[np.square(x).sum()]]])
    np.testing.assert_array_equal(clconv.conv1d(x, x[:, :, 3:7], device=name), correlated(x, x[:, :, 3:7]))
    np.testing.assert_array_equal(
        clconv.conv1d(x[:, :, :20], x[:, :, ::20], device=name), correlated(x[..., :20], x[..., ::20])
    )
    gradients = clconv.conv1d_backward(x, x, np.ones((1, 1, 1), "float32"), device=name)
    np.testing.assert_array_equal(gradients.weight, [[[np.square(x).sum()]]])
    interleaved = np.stack([x, np.zeros_like(x)], axis=-1).reshape(1, 1, 80)
    even, odd = interleaved[:, :, ::2], interleaved[:, :, 1::2]
    clconv.conv1d(even, np.full((1, 1, 1), 3, "float32"), out=odd, device=name)
    np.testing.assert_array_equal(even, x)
    np.testing.assert_array_equal(odd, 3 * x)


@on_cpu
def test_no_two_buffers_in_host_memory_overlap(name, buffers, nothing_shared):
    """OpenCL leaves open what such buffers do: the second one is a copy, and the same memory is one buffer."""
    memory = integers(1, 1, 80)
    clconv.conv1d(memory[:, :, ::2], integers(1, 1, 1), out=memory[:, :, 1::2], device=name)
    assert sorted(bool(flags & cl.mem_flags.USE_HOST_PTR) for flags in buffers) == [False, True, True]
    buffers.clear()
    clconv.conv1d(memory, memory[:, :, 3:7], device=name)
    assert sorted(bool(flags & cl.mem_flags.USE_HOST_PTR) for flags in buffers) == [False, True, True]
    buffers.clear()
    clconv.conv1d(memory, memory, device=name)
    assert [bool(flags & cl.mem_flags.USE_HOST_PTR) for flags in buffers] == [True, True]


@everywhere
def test_memory_that_cannot_be_written_is_read(name):
    x, w = integers(1, 1, 40), integers(1, 1, 3, seed=1)
    expected = correlated(x, w)
    read_only = np.frombuffer(x.tobytes(), "float32").reshape(x.shape)
    np.testing.assert_array_equal(clconv.conv1d(read_only, w, device=name), expected)


@everywhere
@pytest.mark.parametrize("elements_before", [0, 1, 16, 32])
def test_pages_that_the_system_keeps_from_being_written_are_read_at_any_address(name, elements_before, tmp_path):
    x, w = integers(1, 1, 40), integers(1, 1, 3, seed=1)
    file = tmp_path / "x"
    file.write_bytes(bytes(4 * elements_before) + x.tobytes())
    mapped = np.asarray(np.memmap(file, "float32", "r", 4 * elements_before, x.shape))
    np.testing.assert_array_equal(clconv.conv1d(mapped, w, device=name), correlated(x, w))


@everywhere
def test_no_memory_is_a_device_memory_error_with_the_size(name):
    x = np.broadcast_to(np.ones((1, 1, 1), "float32"), (2**20, 1, 2**20))
    with pytest.raises(clconv.DeviceMemoryError, match=str(2**42)):
        clconv.conv1d(x, np.ones((1, 1, 1), "float32"), device=name)


# Very large arrays


@everywhere
def test_tens_of_thousands_of_channels_and_of_batches_are_right(name):
    count = 70_000
    x, w = integers(count, 1, 3), integers(2, 1, 2, seed=1)
    np.testing.assert_array_equal(clconv.conv1d(x, w, device=name), correlated(x, w))
    x, w = integers(1, count, 3), integers(count, 1, 2, seed=1)
    grouped = clconv.conv1d(x, w, groups=count, device=name)
    np.testing.assert_array_equal(grouped, x[:, :, :2] * w[None, :, 0, :1] + x[:, :, 1:] * w[None, :, 0, 1:])
    x, w = integers(1, count, 2), integers(1, count, 1, seed=1)
    np.testing.assert_array_equal(clconv.conv1d(x, w, device=name), correlated(x, w))


@pytest.mark.slow
@everywhere
def test_an_input_of_more_than_two_to_the_31_elements_is_right_or_a_memory_error(name):
    """The input is mapped lazily: of its 4.3 GB, only what the stride touches is ever there."""
    x = np.zeros((3, 1, 2**30 - 1), "float16")
    x[2, 0, :: 2**28] = [1, 2, 3, 4]
    x[2, 0, -1] = 5
    try:
        result = clconv.conv1d(x, np.ones((1, 1, 1), "float16"), stride=2**28, device=name)
        dense = clconv.conv1d(x[:, :, -1:], np.ones((1, 1, 1), "float16"), device=name)
    except clconv.DeviceMemoryError as error:
        if name == "native":
            raise
        pytest.skip(f"{error}")
    np.testing.assert_array_equal(result, [[[0] * 4], [[0] * 4], [[1, 2, 3, 4]]])
    np.testing.assert_array_equal(dense, [[[0]], [[0]], [[5]]])


@pytest.mark.slow
@everywhere
def test_an_output_of_more_than_two_to_the_31_elements_is_right_or_a_memory_error(name):
    x = np.broadcast_to(np.arange(1, 4, dtype="float16")[:, None, None], (3, 1, 2**30 - 1))
    try:
        result = clconv.conv1d(x, np.full((1, 1, 1), 2, "float16"), device=name)
    except clconv.DeviceMemoryError as error:
        pytest.skip(f"{error}")
    assert result.size > 2**31
    for batch in range(3):
        bits = result[batch].view("uint16")  # NumPy compares integers faster than halves
        assert bits.min() == bits.max() == np.float16(2 * (batch + 1)).view("uint16")


# Threads


@pytest.mark.skipif(not [*native_too, *USABLE], reason="no device")
def test_eight_threads_may_run_different_operations_on_different_devices_at_once():
    x, w, dy = integers(2, 4, 500), integers(6, 4, 5, seed=1), integers(2, 6, 496, seed=2)
    # oclgrind itself crashes where two threads use it.
    devices = [*native_too, *(name for name in USABLE if "oclgrind" not in entry_of(name).platform.name.lower())]
    operations = [
        lambda device: clconv.conv1d(x, w, device=device),
        lambda device: clconv.conv1d_backward(dy, x, w, device=device).weight,
        lambda device: clconv.conv_transpose1d(dy, w, device=device),
        lambda device: clconv.unfold(x, (3,), device=device),
    ]
    expected = [operation(devices[0]) for operation in operations]
    start = threading.Barrier(8)
    failures = []

    def work(seed):
        start.wait()
        for turn in np.random.default_rng(seed).permutation(len(operations) * len(devices) * 3):
            operation, device = turn % len(operations), devices[turn % len(devices)]
            if not np.array_equal(operations[operation](device), expected[operation]):
                failures.append((operation, device))

    run_in_threads(work, [(seed,) for seed in range(8)])
    assert failures == []


# Forks


FORKED = """
    import logging, os, sys, threading
    import numpy as np
    import clconv

    x, w = np.arange(9, dtype="float32").reshape(1, 1, 9), np.ones((1, 1, 2), "float32")
    expected = x[:, :, 1:] + x[:, :, :-1]

    def forked(work):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    def refused(work):
        try:
            work()
        except clconv.Unsupported as error:
            assert "when this process was forked" in str(error), error
            assert "spawn" in str(error) and 'device="native"' in str(error)
        else:
            raise AssertionError("OpenCL was not refused")
"""


@needs_fork
@on_opencl
def test_a_forked_child_is_refused_opencl_in_every_form_and_has_native(name):
    lines = program(
        FORKED
        + """
    import pyopencl as cl
    from clconv.opencl.devices import found
    import pyopencl.array
    NAME = sys.argv[1]
    entry = next(entry for entry in found() if entry.name == NAME)
    context = cl.Context([entry.device])
    queue = cl.CommandQueue(context)
    on_device = cl.array.to_device(queue, x), cl.array.to_device(queue, w)
    assert np.array_equal(clconv.conv1d(x, w, device=NAME), expected)
    assert np.array_equal(clconv.conv1d(*on_device).get(), expected)
    clconv.conv1d(x, w)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("clconv").addHandler(handler)
    logging.getLogger("clconv").setLevel(logging.INFO)

    def child():
        for device in (NAME, "opencl", entry.device, context, queue):
            refused(lambda: clconv.conv1d(x, w, device=device))
        refused(lambda: clconv.conv1d(*on_device))
        with clconv.use("native"):
            assert np.array_equal(clconv.conv1d(x, w), expected)
        for _ in range(2):
            assert np.array_equal(clconv.conv1d(x, w), expected)
        assert "forked" in [device.problem for device in clconv.devices() if device.name != "native"][0]
        print([(record.levelname, "forked" in record.getMessage()) for record in records])

    forked(child)
    assert np.array_equal(clconv.conv1d(x, w, device=NAME), expected)
    with clconv.use(NAME):
        forked(lambda: refused(lambda: clconv.conv1d(x, w)))
    print("done")
        """,
        name,
    )
    assert lines == ["[('INFO', True)]", "done"]


@needs_fork
@needs_opencl
def test_a_fork_while_another_thread_looks_for_devices_leaves_no_lock_behind():
    lines = program(
        FORKED
        + """
    import importlib
    from clconv.opencl import devices
    choice = importlib.import_module("clconv.devices")
    held, finish = threading.Event(), threading.Event()

    def hold():
        with devices._lock, choice._default_lock:
            held.set()
            finish.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def child():
        refused(lambda: clconv.conv1d(x, w, device="opencl"))
        assert np.array_equal(clconv.conv1d(x, w), expected)

    forked(child)
    finish.set()
    thread.join()
    print("done")
        """
    )
    assert lines == ["done"]


@needs_fork
def test_a_fork_before_anybody_asked_for_opencl_may_use_it():
    lines = program(
        FORKED
        + """
    def child():
        usable = [device.name for device in clconv.devices() if device.problem is None]
        for device in usable:
            assert np.array_equal(clconv.conv1d(x, w, device=device), expected)
        print(*usable)

    forked(child)
        """
    )
    assert lines == [" ".join([*native_too, *USABLE])]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no way to say which processors a process may use")
def test_pocl_is_asked_to_spread_its_threads_unless_the_user_chose_or_the_process_may_not_use_all(monkeypatch):
    everywhere = set(range(os.sysconf("SC_NPROCESSORS_CONF")))
    asked = []
    monkeypatch.setattr(runtimes.cl, "get_platforms", lambda: [asked.append(os.environ.get("POCL_AFFINITY"))])
    for allowed, chosen, expected in (
        (everywhere, None, "1"),
        (everywhere, "0", "0"),
        (everywhere - {0}, None, None),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, allowed=allowed: allowed)
        monkeypatch.setenv("POCL_AFFINITY", chosen or "")
        if chosen is None:
            monkeypatch.delenv("POCL_AFFINITY")
        runtimes.platforms()
        assert asked[-1] == expected
        assert os.environ.get("POCL_AFFINITY") == chosen
