"""For each kernel, calls that launch it: what the matrix of kernels, define sets and devices is made of."""

from __future__ import annotations

from tests.kernel_calls import conv, deform, elementwise, epilogue, norm, pool, resize, unfold

#: Kernel names to functions that take a function drawing small integers of a shape, and yield calls.
CALLS = {
    **conv.CALLS,
    **deform.CALLS,
    **elementwise.CALLS,
    **epilogue.CALLS,
    **norm.CALLS,
    **pool.CALLS,
    **resize.CALLS,
    **unfold.CALLS,
}

#: Operations to functions that take a dtype and yield problems on both sides of what plans choose between.
PROBLEMS = {
    **conv.PROBLEMS,
    **deform.PROBLEMS,
    **elementwise.PROBLEMS,
    **epilogue.PROBLEMS,
    **norm.PROBLEMS,
    **pool.PROBLEMS,
    **resize.PROBLEMS,
    **unfold.PROBLEMS,
}
