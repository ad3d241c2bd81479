"""Planned convolutions: the bits of plain calls, weights of the moment of planning, and what is refused."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clconv
from clconv import algorithms
from clconv.algorithms import ALGORITHMS, plan_for
from clconv.devices import executor_for
from clconv.native import executor as native_executor
from clconv.plan import Launch, Plan, Traits
from clconv.preparation import split
from tests.calls import arrays_of, reals
from tests.fences import fenced
from tests.strategies import convolutions, laid_out
from tests.threads import run_in_threads

USABLE = [device.name for device in clconv.devices() if device.problem is None and device.kind != "native"]
needs_native = pytest.mark.skipif(native_executor.why_unusable() is not None, reason="no native device")

X = np.random.default_rng(0).standard_normal((2, 8, 12, 12), dtype=np.float32)
W = np.random.default_rng(1).standard_normal((24, 8, 3, 3), dtype=np.float32)
B = np.random.default_rng(2).standard_normal(24, dtype=np.float32)


@contextlib.contextmanager
def choosing_as_plans_do(device):
    """Let plain calls choose the algorithm that a plan would, for which the preparation of weights is free."""
    executor = executor_for(device, X, "float32")
    own = executor.traits
    executor.traits = own._replace(prepared=True)
    try:
        yield executor
    finally:
        executor.traits = own


@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
@given(data=st.data())
def test_a_plan_computes_the_bits_of_a_plain_call(device, transposed, data):
    case = data.draw(convolutions(transposed))
    x, w, bias, _ = arrays_of(case, reals)
    with choosing_as_plans_do(device) as executor, fenced(executor):
        layer = clconv.plan(case.operation, x.shape, w, bias, **case.arguments, device=device)
        for layout in ("contiguous", "contiguous", "fortran", "sliced"):
            given_ = laid_out(x, layout)
            expected = getattr(clconv, case.operation)(given_, w, bias, **case.arguments, device=device)
            assert layer.output_shape == expected.shape == case.output_shape
            np.testing.assert_array_equal(layer(given_), expected, strict=True)
            for _ in range(2):
                out = laid_out(np.zeros_like(expected), "inside")
                assert layer(given_, out=out) is out
                np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("flip", [False, True])
def test_an_epilogue_is_part_of_a_plan(device, dtype, flip):
    x, w, b = X.astype(dtype), W.astype(dtype), B.astype(dtype)
    epilogue = clconv.Epilogue(scale=b, shift=b[::-1], activation="relu")
    with choosing_as_plans_do(device):
        expected = clconv.conv2d(x, w, b, padding=1, flip=flip, epilogue=epilogue, device=device)
    layer = clconv.plan("conv2d", x.shape, w, b, padding=1, flip=flip, epilogue=epilogue, device=device)
    np.testing.assert_array_equal(layer(x), expected, strict=True)


def test_what_is_written_into_weights_shows_in_plain_calls_and_not_in_plans(device):
    w, b = W.copy(), B.copy()
    before = clconv.conv2d(X, w, b, device=device)
    layer = clconv.plan("conv2d", X.shape, w, b, device=device)
    planned = layer(X)
    np.testing.assert_allclose(planned, before, rtol=0, atol=1e-4)
    for _ in range(2):  # what is remembered of plain calls are no contents
        w *= -2
        b += 1
        np.testing.assert_array_equal(layer(X), planned)
        after = clconv.conv2d(X, w, b, device=device)
        assert np.abs(after - before).max() > 1
        np.testing.assert_array_equal(after, clconv.conv2d(X, w.copy(), b.copy(), device=device))


def test_a_plan_tells_of_itself(device):
    layer = clconv.plan("conv2d", X.shape, W, B, padding=1, device=device)
    assert (layer.operation, layer.dtype, layer.accuracy) == ("conv2d", "float32", "strict")
    assert (layer.input_shape, layer.output_shape) == (X.shape, (2, 24, 12, 12))
    names = {algorithm.name: algorithm for algorithm in ALGORITHMS["conv_fwd"]}
    assert {layer.algorithm, *layer.alternatives} == names.keys()
    assert layer.error == names[layer.algorithm].error
    assert layer.algorithm in repr(layer)
    for word in (layer.algorithm, layer.error, *layer.alternatives.values(), str(layer.workspace_bytes)):
        assert word in str(layer)


@needs_native
def test_a_direct_plan_packs_its_weights_beforehand(monkeypatch):
    direct = next(algorithm for algorithm in ALGORITHMS["conv_fwd"] if algorithm.name == "direct")
    monkeypatch.setitem(ALGORITHMS, "conv_fwd", (direct,))
    algorithms.forget()
    layer = clconv.plan("conv2d", X.shape, W, padding=1, device="native")
    assert layer.algorithm == "direct"
    assert layer.prepared_bytes >= W.nbytes
    assert layer.workspace_bytes > 0  # the padded input
    assert not layer.alternatives
    launched_kernels = []
    executor = executor_for("native", X, "float32")
    with monkeypatch.context() as patched:
        patched.setattr(
            executor, "launch", lambda plan, *_: launched_kernels.extend(one.kernel for one in plan.launches)
        )
        layer(X)
    copied, convolved = launched_kernels
    assert copied in ("copy_input", "copy_channels_last")  # by the width of registers
    assert convolved == "conv_direct"
    monkeypatch.undo()
    algorithms.forget()


@needs_native
def test_a_plan_keeps_the_accuracy_of_its_making():
    with clconv.accuracy("fast"):
        layer = clconv.plan("conv2d", X.shape, W, device="native")
    assert layer.accuracy == "fast"


def test_threads_may_share_a_plan(device):
    layer = clconv.plan("conv2d", X.shape, W, B, padding=1, device=device)
    inputs = [X * np.float32(factor) for factor in range(1, 5)]
    expected = [layer(x) for x in inputs]
    np.testing.assert_allclose(expected[0], clconv.conv2d(X, W, B, padding=1, device=device), rtol=0, atol=1e-4)
    wrong = []

    def work(x, y):
        for _ in range(20):
            if layer(x).tobytes() != y.tobytes():
                wrong.append(x)

    run_in_threads(work, zip(inputs, expected, strict=True))
    assert not wrong


@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_may_go_on_with_a_plan():
    layer = clconv.plan("conv2d", X.shape, W, B, padding=1, device="native")
    expected = layer(X).tobytes()
    child = os.fork()
    if not child:
        os._exit(0 if layer(X).tobytes() == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not USABLE, reason="no usable OpenCL device")
@pytest.mark.parametrize("name", USABLE)
def test_plans_of_pyopencl_arrays_run_on_their_queue(name):
    cl, cl_array = importlib.import_module("pyopencl"), importlib.import_module("pyopencl.array")
    with clconv.use(name):
        expected = clconv.plan("conv2d", X.shape, W, B, padding=1)(X)
    found = importlib.import_module("clconv.opencl.devices").found()
    device = next(entry.device for entry in found if entry.name == name)
    context = cl.Context([device])
    queues = [cl.CommandQueue(context), cl.CommandQueue(context)]
    w = cl_array.to_device(queues[0], np.concatenate([W, W]))[24:]  # does not begin at its buffer's beginning
    layer = clconv.plan("conv2d", X.shape, w, cl_array.to_device(queues[0], B), padding=1)
    w.set(np.zeros_like(W))
    for queue in queues:
        y = layer(cl_array.to_device(queue, X))
        assert y.queue == queue
        np.testing.assert_array_equal(y.get(), expected)
    with pytest.raises(TypeError, match=r"that are pyopencl arrays, but input is one of the NumPy arrays"):
        layer(X)
    other_context = cl.Context([device])
    elsewhere = cl_array.to_device(cl.CommandQueue(other_context), X)
    with pytest.raises(ValueError, match="must be on the device and in the context of the plan's weight"):
        layer(elsewhere)


@pytest.mark.skipif(not USABLE, reason="no usable OpenCL device")
@pytest.mark.parametrize("name", USABLE)
def test_weights_lie_on_devices_that_do_not_work_in_host_memory(name, monkeypatch):
    layer = clconv.plan("conv2d", X.shape, W, B, padding=1, device=name)
    expected = layer(X)
    monkeypatch.setattr(executor_for(name, X, "float32"), "in_host_memory", False)
    layer = clconv.plan("conv2d", X.shape, W, B, padding=1, device=name)
    for x in (X, X, np.asfortranarray(X)):
        np.testing.assert_array_equal(layer(x), expected)


@needs_native
@pytest.mark.parametrize(
    ("call", "error", "rule"),
    [
        (lambda layer: layer(X[:1]), ValueError, "takes inputs of shape (2, 8, 12, 12): input.shape=(1, 8, 12, 12)"),
        (lambda layer: layer(X.astype("float64")), TypeError, "takes inputs of dtype float32: input.dtype=float64"),
        (lambda layer: layer(X.tolist()), TypeError, "input takes a numpy.ndarray or a pyopencl.array.Array"),
        (lambda layer: layer(X, out=X), ValueError, "out must have the output's shape (2, 24, 10, 10)"),
        (lambda layer: layer(X, np.zeros((2, 24, 10, 10))), TypeError, "out must have the inputs' dtype float32"),
        (lambda _: clconv.plan("conv4d", X.shape, W), ValueError, "operation takes one of 'conv1d', 'conv2d'"),
        (lambda _: clconv.plan("conv2d", X.shape, W, stride=0), ValueError, "stride must be at least 1: stride=0"),
        (lambda _: clconv.plan("conv2d", 12, W), TypeError, "input_shape takes a sequence of integers, not int"),
        (lambda _: clconv.plan("conv2d", (2, 8, 12, 1.5), W), TypeError, "input_shape takes an integer, not float"),
        (lambda _: clconv.plan("conv1d", X.shape, W), ValueError, "weight takes 3 axes"),
        (
            lambda _: clconv.plan("conv2d", X.shape, W, W),
            ValueError,
            "bias must have one value for each output channel",
        ),
        (
            lambda _: clconv.plan("conv2d", X.shape, W, output_padding=1),
            ValueError,
            "output_padding is for transposed convolutions only: output_padding=1",
        ),
        (
            lambda _: clconv.plan("conv2d", X.shape, W, epilogue=clconv.Epilogue(residual=np.zeros_like(X))),
            ValueError,
            "epilogue takes no residual in a plan",
        ),
    ],
)
def test_what_a_plan_refuses(call, error, rule):
    layer = clconv.plan("conv2d", X.shape, W, device="native")
    with pytest.raises(error, match=re.escape(rule)):
        call(layer)


@needs_native
def test_an_output_is_checked_in_every_call_of_a_plan():
    both = np.zeros((2, *X.shape), "float32")
    layer = clconv.plan("conv2d", X.shape, W[:8], padding=1, device="native")
    for _ in range(3):
        assert layer(both[0], both[1]).base is both
        with pytest.raises(ValueError, match="out must not overlap an input"):
            layer(both[0], both[0])
        readonly = np.zeros_like(X)
        readonly.flags.writeable = False
        with pytest.raises(ValueError, match="out must be writeable"):
            layer(both[0], readonly)


def launched(arrays, file="conv_direct.cl", kernel="pack_weights"):
    return Launch(file, kernel, (), 1, arrays, {}, 1)


def test_launches_that_read_weights_only_are_split_off():
    problem = clconv.ConvProblem.from_shapes((2, 8, 12, 12), (48, 8, 3, 3), padding=1)
    plan = plan_for("conv_fwd", problem, Traits(64, vector_loops=True))
    first, rest = split(plan, ["w"])
    assert [launch.kernel for launch in first.launches] == ["pack_weights"]
    assert [launch.kernel for launch in rest.launches] == ["copy_input", "conv_direct"]
    assert first.workspace.keys() | rest.workspace.keys() == plan.workspace.keys()
    assert not first.workspace.keys() & rest.workspace.keys()


def test_what_follows_from_prepared_weights_is_prepared_too():
    twice = Plan((launched({"w": "w", "packed": "one"}), launched({"w": "one", "packed": "two"})), {"one": 4, "two": 4})
    first, rest = split(twice, ["w"])
    assert first.launches == twice.launches
    assert not rest.launches


def test_workspace_that_is_used_again_is_not_prepared():
    """The second packing would overwrite the first one before it is read."""
    launches = (
        launched({"w": "w", "packed": "piece"}),
        launched({"w": "piece", "packed": "y"}),
        launched({"w": "w", "packed": "piece"}),
        launched({"w": "piece", "packed": "z"}),
    )
    first, rest = split(Plan(launches, {"piece": 4}), ["w"])
    assert not first.launches
    assert rest.launches == launches
    assert rest.workspace == {"piece": 4}


def test_workspace_that_an_input_goes_into_is_not_prepared():
    launches = (launched({"w": "w", "packed": "piece"}), launched({"w": "x", "packed": "piece"}))
    first, _ = split(Plan(launches, {"piece": 4}), ["w"])
    assert not first.launches


def test_launches_without_work_items_are_left_out():
    """What they would write stays workspace of those that are told to read it."""
    nothing, reader = replace(launched({"w": "w", "packed": "piece"}), items=0), launched({"w": "piece", "packed": "y"})
    first, rest = split(Plan((nothing, reader), {"piece": 0}), ["w"])
    assert (first.launches, rest.launches, rest.workspace) == ((), (reader,), {"piece": 0})
