"""For each kernel, calls that launch it: what the matrix of kernels, define sets and devices is made of."""

from __future__ import annotations

from tests.kernel_calls import conv, norm, unfold

#: Kernel names to functions that take a function drawing small integers of a shape, and yield calls.
CALLS = {**conv.CALLS, **norm.CALLS, **unfold.CALLS}
