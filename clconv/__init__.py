"""Convolutions, forward and backward, on any OpenCL device and on any CPU."""

from clconv.devices import DeviceInfo, devices, use
from clconv.errors import BuildError, DeviceMemoryError, Unsupported
from clconv.functional import (
    ConvGradients,
    FoldGradients,
    UnfoldGradients,
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
    fold,
    fold_backward,
    unfold,
    unfold_backward,
)
from clconv.native.executor import get_num_threads, set_num_threads
from clconv.problem import ConvProblem
from clconv.window import ReceptiveField, Window, receptive_field

__version__ = "0.1.0"

__all__ = [
    "BuildError",
    "ConvGradients",
    "ConvProblem",
    "DeviceInfo",
    "DeviceMemoryError",
    "FoldGradients",
    "ReceptiveField",
    "UnfoldGradients",
    "Unsupported",
    "Window",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "devices",
    "fold",
    "fold_backward",
    "get_num_threads",
    "receptive_field",
    "set_num_threads",
    "unfold",
    "unfold_backward",
    "use",
]
