"""Plans that carry arrays of their own, and resampling of pyopencl's arrays, which needs them on any queue."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import clconv
from clconv.algorithms import plan_for
from clconv.arrays import element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.plan import Plan, Traits
from clconv.problem import PadProblem

USABLE = [device.name for device in clconv.devices() if device.kind != "native" and device.problem is None]


def padding_with(value, dtype="float32"):
    """Return a plan that pads an axis of 2 by (1, 1) with a value, which is the plan's constant."""
    problem = PadProblem.for_pad((1, 2), (1, 1), "constant", value, dtype=dtype)
    return problem, plan_for("pad", problem, Traits())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kernels_read_a_plans_constants(device, dtype):
    x, y = np.ones((1, 2), dtype), np.zeros((1, 4), dtype)
    executor = executor_for(device, x, dtype)
    for value in (5.0, -2.0, 5.0):
        problem, plan = padding_with(value, dtype)
        assert plan.constants == {"value": np.array(value, dtype).tobytes()}
        operands = {
            name: Operand(array, 0, problem.canonical(element_strides(array), 0))
            for name, array in (("x", x), ("y", y))
        }
        executor.run(plan, operands)
        np.testing.assert_array_equal(y, [[value, 1, 1, value]])


def test_plans_that_are_joined_keep_their_constants():
    one, other = Plan((), constants={"a": b"1"}), Plan((), {"w": 8}, {"b": b"2"})
    assert (one + other).constants == {"a": b"1", "b": b"2"}
    assert (one + other).workspace == {"w": 8}


@pytest.mark.skipif(not USABLE, reason="no usable OpenCL device")
@pytest.mark.parametrize("name", USABLE)
def test_pyopencl_arrays_are_resampled_on_their_queue(name):
    cl, cl_array = importlib.import_module("pyopencl"), importlib.import_module("pyopencl.array")
    device = executor_for(name, None, "float32").device
    context = cl.Context([device])
    queue = cl.CommandQueue(context, device)
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 8)).astype("float32")
    base = cl_array.to_device(queue, x)
    for operation, arguments in (
        ("interpolate", {"scale_factor": 2, "mode": "bicubic"}),
        ("pad", {"pad": (1, 2, 0, 1), "mode": "reflect"}),
        ("pad", {"pad": (1, 2), "value": 4.0}),
        ("pixel_shuffle", {"upscale_factor": 2}),
        ("channel_shuffle", {"groups": 2}),
    ):
        for view in (np.s_[:], np.s_[1:, :, ::2, ::-1]):
            expected = getattr(clconv, operation)(x[view], **arguments, device=name)
            y = getattr(clconv, operation)(base[view], **arguments)
            assert y.queue is queue
            np.testing.assert_array_equal(y.get(), expected)
            gradients = getattr(clconv, f"{operation}_backward")(y, base[view], **arguments)
            wanted = getattr(clconv, f"{operation}_backward")(expected, x[view], **arguments, device=name)
            np.testing.assert_array_equal(gradients.input.get(), wanted.input)


@pytest.mark.skipif(not USABLE, reason="no usable OpenCL device")
def test_axes_of_a_device_array_that_cannot_be_walked_as_one_are_refused():
    cl, cl_array = importlib.import_module("pyopencl"), importlib.import_module("pyopencl.array")
    device = executor_for(USABLE[0], None, "float32").device
    context = cl.Context([device])
    queue = cl.CommandQueue(context, device)
    x = cl_array.zeros(queue, (4, 3, 4, 2, 2), np.float32)[::2, ::2]
    with pytest.raises(ValueError, match=r"input has axes \[0, 1\] that must lie in memory like one"):
        clconv.pixel_shuffle(x, 2)
