"""The public operations, with torch.nn.functional's names and signatures; what torch lacks is keyword-only."""

from clconv.functional.conv import (
    ConvGradients,
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
)
from clconv.functional.conv_transpose import (
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from clconv.functional.interpolate import (
    InterpolateGradients,
    interpolate,
    interpolate_backward,
    upsample,
    upsample_backward,
    upsample_bilinear,
    upsample_bilinear_backward,
    upsample_nearest,
    upsample_nearest_backward,
)
from clconv.functional.unfold import FoldGradients, UnfoldGradients, fold, fold_backward, unfold, unfold_backward

__all__ = [
    "ConvGradients",
    "FoldGradients",
    "InterpolateGradients",
    "UnfoldGradients",
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
    "fold",
    "fold_backward",
    "interpolate",
    "interpolate_backward",
    "unfold",
    "unfold_backward",
    "upsample",
    "upsample_backward",
    "upsample_bilinear",
    "upsample_bilinear_backward",
    "upsample_nearest",
    "upsample_nearest_backward",
]
