"""The public operations, with torch.nn.functional's names and signatures; what torch lacks is keyword-only."""

from clconv.functional._normalisation import NormGradients
from clconv.functional.batch_norm import batch_norm, batch_norm_backward, instance_norm, instance_norm_backward
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
from clconv.functional.norm import (
    RMSNormGradients,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from clconv.functional.norm_response import (
    LocalResponseNormGradients,
    local_response_norm,
    local_response_norm_backward,
)
from clconv.functional.unfold import FoldGradients, UnfoldGradients, fold, fold_backward, unfold, unfold_backward

__all__ = [
    "ConvGradients",
    "FoldGradients",
    "LocalResponseNormGradients",
    "NormGradients",
    "RMSNormGradients",
    "UnfoldGradients",
    "batch_norm",
    "batch_norm_backward",
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
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "rms_norm",
    "rms_norm_backward",
    "unfold",
    "unfold_backward",
]
