"""What an OpenCL device keeps between calls: the constants of its plans, and workspace."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from clconv.algorithms import plan_for
from clconv.arrays import element_strides
from clconv.devices import executor_for
from clconv.plan import Traits
from clconv.problem import PadProblem

USABLE = [device.name for device in clconv.devices() if device.kind != "native" and device.problem is None]
KIB = 2**10

pytestmark = [
    pytest.mark.skipif(not USABLE, reason="no usable OpenCL device"),
    pytest.mark.parametrize("name", USABLE),
]


def test_constants_are_uploaded_once(name):
    bindings = executor_for(name, None, "float32")._bindings
    first = bindings._constant(b"some bytes")
    assert bindings._constant(b"some bytes") is first
    assert bindings._constant(b"other bytes") is not first


def test_a_bound_plan_keeps_its_constants_when_the_device_forgets_them(name):
    problem = PadProblem.for_pad((1, 2), (1, 1), "constant", 7.0, dtype="float32")
    plan = plan_for("pad", problem, Traits())
    x, y = np.ones((1, 2), "float32"), np.zeros((1, 4), "float32")
    layouts = tuple(
        (operand, 0, problem.canonical(element_strides(array), 0)) for operand, array in (("x", x), ("y", y))
    )
    bindings = executor_for(name, None, "float32")._bindings
    bound = bindings.bound(plan, layouts)
    assert bound.constants == (bindings._constant(plan.constants["value"]),)
    bindings._constant.cache_clear()
    assert bindings.bound(plan, layouts).constants == bound.constants


@pytest.fixture
def executor(name, monkeypatch):
    """Return a device's executor, to which workspace of 64 KiB is the most that is kept."""
    module = pytest.importorskip("clconv.opencl.executor")
    monkeypatch.setattr(module, "_MOST_KEPT", 64 * KIB)
    of_device = executor_for(name, None, "float32")
    if not of_device.in_host_memory:
        pytest.skip("this device keeps no workspace")
    return module.OpenCLExecutor(of_device._programs, name)


def keep(executor, **sizes):
    """Ask for workspace of these KiB; return what is kept of all calls so far."""
    from clconv.opencl.binding import BoundWorkspace

    workspace = executor._kept_workspace(tuple(BoundWorkspace(name, size * KIB, ()) for name, size in sizes.items()))
    for one, size in sizes.items():
        assert workspace[one].size >= size * KIB
    return {one: buffer.size // KIB for one, buffer in executor._of_thread.workspace.items()}


def test_workspace_is_kept_for_calls_that_need_no_more_of_it(executor):
    assert keep(executor, a=20, b=10) == {"a": 20, "b": 10}
    kept = dict(executor._of_thread.workspace)
    assert keep(executor, a=5) == {"a": 20, "b": 10}
    assert executor._of_thread.workspace == kept
    assert keep(executor, b=12) == {"a": 20, "b": 12}
    assert executor._of_thread.workspace["a"] is kept["a"]


def test_kept_workspace_never_grows_beyond_its_limit(executor):
    assert keep(executor, a=40, b=10) == {"a": 40, "b": 10}
    assert keep(executor, a=1, c=30) == {"a": 1, "c": 30}  # 80 KiB with what was there
    assert keep(executor, d=33) == {"a": 1, "c": 30, "d": 33}
    assert keep(executor, e=65) == {"a": 1, "c": 30, "d": 33}  # given, and not kept
