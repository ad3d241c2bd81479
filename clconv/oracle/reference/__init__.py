"""The definition of every operation, in float64.

Names, argument names, order and defaults are those of torch.nn.functional; what torch lacks is keyword-only.
Each operation has a ``NAME_backward(grad_output, *the same arguments, output_mask=None)``, which returns a
named tuple with the gradient of ``sum(grad_output * NAME(...))`` for each array argument.

- Input may come without a batch axis, as in torch; output and gradients then have none either.
- Real arrays of any type are converted to float64; what float64 cannot hold (integers beyond 2**53, long
  double) is rounded. Integers come out exactly as long as no sum of magnitudes exceeds 2**53.
- Every sum of products is taken by scipy.signal.correlate with method="direct", never by FFT, whose error is
  that of the whole image. Strides and dilations are zeros put between elements: **the reference is for finite
  data**, since such a zero times infinity is NaN where the definition has no product at all. `unfold`, a
  copy, takes any data.
- An empty batch gives empty output and zero weight gradients; no input channels give the bias everywhere.
  Empty spatial axes are refused, as torch does.
- Padding is taken from NumPy's `pad`, and its adjoint from the same `pad` of an array of indices.

It is meant for problems of up to some millions of products.

Examples
--------
>>> import numpy as np
>>> from clconv.oracle import reference
>>> x, w = np.arange(5.0).reshape(1, 1, 5), np.array([[[1.0, 2.0, 4.0]]])
>>> y = reference.conv1d(x, w, stride=2, padding="same_upper")
>>> y
array([[[ 4., 17., 11.]]])
>>> dx = reference.conv1d_backward(y, x, w, stride=2, padding="same_upper").input
>>> float(np.sum(y * y)) == float(np.sum(x * dx))
True
"""

from clconv.oracle.reference.activation import (
    ActivationGradients,
    gelu,
    gelu_backward,
    hardswish,
    hardswish_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh,
    tanh_backward,
)
from clconv.oracle.reference.batch_norm import batch_norm, batch_norm_backward, instance_norm, instance_norm_backward
from clconv.oracle.reference.blocks import FoldGradients, UnfoldGradients, fold, fold_backward, unfold, unfold_backward
from clconv.oracle.reference.conv import conv1d, conv1d_backward, conv2d, conv2d_backward, conv3d, conv3d_backward
from clconv.oracle.reference.conv_transpose import (
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from clconv.oracle.reference.cross_entropy import CrossEntropyGradients, cross_entropy, cross_entropy_backward
from clconv.oracle.reference.deform import DeformConvGradients, deform_conv2d, deform_conv2d_backward
from clconv.oracle.reference.dropout import DropoutGradients, dropout, dropout_backward
from clconv.oracle.reference.epilogue import EpilogueGradients, epilogue, epilogue_backward
from clconv.oracle.reference.grid_sample import GridSampleGradients, grid_sample, grid_sample_backward
from clconv.oracle.reference.group_norm import (
    RMSNormGradients,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from clconv.oracle.reference.layer import ConvGradients
from clconv.oracle.reference.linear import LinearGradients, linear, linear_backward
from clconv.oracle.reference.norm import NormGradients
from clconv.oracle.reference.padding import PadGradients, pad, pad_backward
from clconv.oracle.reference.pool import (
    MaxPoolGradients,
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
)
from clconv.oracle.reference.pool_adaptive import (
    AdaptiveAvgPoolGradients,
    AdaptiveMaxPoolGradients,
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
)
from clconv.oracle.reference.pool_average import (
    AvgPoolGradients,
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
)
from clconv.oracle.reference.pool_global import (
    global_avg_pool,
    global_avg_pool_backward,
    global_max_pool,
    global_max_pool_backward,
)
from clconv.oracle.reference.pool_lp import (
    LpPoolGradients,
    lp_pool1d,
    lp_pool1d_backward,
    lp_pool2d,
    lp_pool2d_backward,
    lp_pool3d,
    lp_pool3d_backward,
)
from clconv.oracle.reference.pool_unpool import (
    MaxUnpoolGradients,
    max_unpool1d,
    max_unpool1d_backward,
    max_unpool2d,
    max_unpool2d_backward,
    max_unpool3d,
    max_unpool3d_backward,
)
from clconv.oracle.reference.rearrange import (
    ChannelShuffleGradients,
    PixelShuffleGradients,
    PixelUnshuffleGradients,
    channel_shuffle,
    channel_shuffle_backward,
    pixel_shuffle,
    pixel_shuffle_backward,
    pixel_unshuffle,
    pixel_unshuffle_backward,
)
from clconv.oracle.reference.resample import InterpolateGradients, interpolate, interpolate_backward
from clconv.oracle.reference.response_norm import (
    LocalResponseNormGradients,
    local_response_norm,
    local_response_norm_backward,
)
from clconv.oracle.reference.softmax import (
    SoftmaxGradients,
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)

__all__ = [
    "ActivationGradients",
    "AdaptiveAvgPoolGradients",
    "AdaptiveMaxPoolGradients",
    "AvgPoolGradients",
    "ChannelShuffleGradients",
    "ConvGradients",
    "CrossEntropyGradients",
    "DeformConvGradients",
    "DropoutGradients",
    "EpilogueGradients",
    "FoldGradients",
    "GridSampleGradients",
    "InterpolateGradients",
    "LinearGradients",
    "LocalResponseNormGradients",
    "LpPoolGradients",
    "MaxPoolGradients",
    "MaxUnpoolGradients",
    "NormGradients",
    "PadGradients",
    "PixelShuffleGradients",
    "PixelUnshuffleGradients",
    "RMSNormGradients",
    "SoftmaxGradients",
    "UnfoldGradients",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "batch_norm",
    "batch_norm_backward",
    "channel_shuffle",
    "channel_shuffle_backward",
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
    "cross_entropy",
    "cross_entropy_backward",
    "deform_conv2d",
    "deform_conv2d_backward",
    "dropout",
    "dropout_backward",
    "epilogue",
    "epilogue_backward",
    "fold",
    "fold_backward",
    "gelu",
    "gelu_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "grid_sample",
    "grid_sample_backward",
    "group_norm",
    "group_norm_backward",
    "hardswish",
    "hardswish_backward",
    "instance_norm",
    "instance_norm_backward",
    "interpolate",
    "interpolate_backward",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "lp_pool1d",
    "lp_pool1d_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "lp_pool3d",
    "lp_pool3d_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "max_unpool1d",
    "max_unpool1d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "max_unpool3d",
    "max_unpool3d_backward",
    "pad",
    "pad_backward",
    "pixel_shuffle",
    "pixel_shuffle_backward",
    "pixel_unshuffle",
    "pixel_unshuffle_backward",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
    "unfold",
    "unfold_backward",
]
