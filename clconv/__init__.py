"""Convolutions, forward and backward, on any OpenCL device and on any CPU."""

from clconv import functional
from clconv.accuracy import accuracy
from clconv.devices import DeviceInfo, devices, use
from clconv.errors import BuildError, DeviceMemoryError, Unsupported
from clconv.explain import explain
from clconv.functional import *
from clconv.functional.plan import ConvPlan, plan
from clconv.native.executor import get_num_threads, set_num_threads
from clconv.problem import ConvProblem, ReceptiveField, Window, receptive_field

__version__ = "0.1.0"

__all__ = [
    "BuildError",
    "ConvPlan",
    "ConvProblem",
    "DeviceInfo",
    "DeviceMemoryError",
    "ReceptiveField",
    "Unsupported",
    "Window",
    "accuracy",
    "devices",
    "explain",
    "functional",
    "get_num_threads",
    "plan",
    "receptive_field",
    "set_num_threads",
    "use",
]
__all__ += functional.__all__
