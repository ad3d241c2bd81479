"""Normalisations with running statistics: of the batch, and of each image by itself, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, switch
from clconv.oracle.reference.norm import Norm, NormGradients, backward, epsilon, forward, parameter, real, standardised

__all__ = [
    "NormResult",
    "Running",
    "batch_norm",
    "batch_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "over_batch",
    "over_image",
    "with_running",
]

Array = NDArray[Any]


class NormResult(NamedTuple):
    """The output, and the running statistics as they are afterwards; None where there were none."""

    output: FloatArray
    running_mean: FloatArray | None
    running_var: FloatArray | None


class Running(NamedTuple):
    """How running statistics take in those of the rows: ``(1 - share) * running + share * row's``."""

    mean: FloatArray  # in a shape to be compared with x, as is the variance
    var: FloatArray
    share: float
    correction: float  # of a row's variance, which is divided by n


def over_batch(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    semantics: str,
) -> tuple[Norm, Running | None]:
    """Check the arguments of `batch_norm`."""
    if not isinstance(semantics, str):
        raise TypeError(f"semantics must be a string, got semantics={semantics!r}")
    if semantics not in ("torch", "onnx", "tf"):
        raise ValueError(f"semantics must be 'torch', 'onnx' or 'tf', got semantics={semantics!r}")
    norm = _per_channel(input, weight, bias, eps, is_batch=True)
    share = real("momentum", momentum)
    share = 1 - share if semantics == "onnx" else share
    running = _running(running_mean, running_var, norm, share, is_unbiased=semantics != "onnx")
    if not switch("training", training):
        return _with_constants(norm, running, "training"), running
    if norm.n == 1 and semantics == "torch":
        raise ValueError(f"training needs more than one value per channel, got input.shape={norm.shape}")
    if norm.eps == 0 and semantics == "torch":
        raise ValueError(f"training needs a positive eps, got eps={eps!r}")
    return norm, running


def over_image(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
) -> tuple[Norm, Running | None]:
    """Check the arguments of `instance_norm`."""
    norm = _per_channel(input, weight, bias, eps, is_batch=False)
    running = _running(running_mean, running_var, norm, real("momentum", momentum), is_unbiased=True)
    if not switch("use_input_stats", use_input_stats):
        return _with_constants(norm, running, "use_input_stats"), running
    if norm.n == 1:
        raise ValueError(f"use_input_stats needs more than one pixel per channel, got input.shape={norm.shape}")
    return norm, running


def _per_channel(input: Array, weight: Array | None, bias: Array | None, eps: float, is_batch: bool) -> Norm:
    x = real_array("input", input)
    if x.ndim < 2:
        raise ValueError(f"input must have at least 2 axes, got input.shape={x.shape}")
    C, spatial = x.shape[1], tuple(range(2, x.ndim))
    in_input = (1, C, *(1 for _ in spatial))
    w, b = parameter("weight", weight, (C,), in_input), parameter("bias", bias, (C,), in_input)
    return Norm(x, (0, *spatial) if is_batch else spatial, w, b, epsilon(eps), x.shape, (C,))


def _running(mean: Array | None, var: Array | None, norm: Norm, share: float, is_unbiased: bool) -> Running | None:
    in_input = (1, *norm.parameters, *(1,) * (norm.x.ndim - 2))
    given_mean = parameter("running_mean", mean, norm.parameters, in_input)
    given_var = parameter("running_var", var, norm.parameters, in_input)
    if given_mean is None and given_var is None:
        return None
    if given_mean is None or given_var is None:
        missing = "running_mean" if given_mean is None else "running_var"
        raise ValueError(f"running_mean and running_var must be given together, got {missing}=None")
    return Running(given_mean, given_var, share, norm.n / max(norm.n - 1, 1) if is_unbiased else 1.0)


def _with_constants(norm: Norm, running: Running | None, switched: str) -> Norm:
    if running is None:
        raise ValueError(f"{switched}=False needs running_mean and running_var, got None")
    return norm._replace(constants=(running.mean, running.var))


def with_running(norm: Norm, running: Running | None) -> NormResult:
    """Return the output and the statistics, updated if they were the rows' own."""
    y = forward(norm)
    if running is None:
        return NormResult(y, None, None)
    mean, var = running.mean, running.var
    if norm.constants is None and norm.x.size:
        rows = standardised(norm)
        # The rows of one channel: a single one, or one for each image.
        batch_mean, batch_var = (np.mean(a, axis=0, keepdims=True) for a in (rows.mean, rows.variance))
        mean = (1 - running.share) * mean + running.share * batch_mean
        var = (1 - running.share) * var + running.share * running.correction * batch_var
    return NormResult(y, mean.flatten(), var.flatten())


def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    semantics: str = "torch",
) -> NormResult:
    """Normalise each channel over the batch and all its pixels.

    ``y = w[c] * (x - m) / sqrt(v + eps) + b[c]``, in training with the batch's own mean m and variance v,
    divided by n, otherwise with the running ones. Training returns these updated, and changes no argument:
    ``(1 - momentum) * running + momentum * batch``, where the batch's variance is divided by n - 1.

    Parameters
    ----------
    input : (N, C, ...)
        Any number of spatial axes, none included.
    running_mean, running_var : (C,), optional
        Both or none; needed in evaluation.
    weight, bias : (C,), optional
    training : bool
    momentum : float
    eps : float
    semantics : str
        "torch"; or "onnx", where momentum is the share that running statistics keep, and the variance is
        stored as it was used, divided by n (BatchNormalization, version 15); or "tf", which updates as torch does
        (`momentum` is its exponential_avg_factor). The last two take a single value per channel in training,
        whose variance is 0.

    Returns
    -------
    NormResult
        Running statistics are as given in evaluation, and where the batch is empty.

    Raises
    ------
    ValueError
        If shapes do not fit, `eps` is negative, only one running statistic is given, or none in evaluation;
        and for torch, in training with one value per channel or `eps` 0.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x, mean, var = np.array([[[5, 7]]]), np.array([2]), np.array([4])
    >>> batch_norm(x, mean, var, training=True, momentum=0.5, eps=3.0)
    NormResult(output=array([[[-0.5,  0.5]]]), running_mean=array([4.]), running_var=array([3.]))
    >>> batch_norm(x, mean, var, training=True, momentum=0.75, eps=3.0, semantics="onnx")
    NormResult(output=array([[[-0.5,  0.5]]]), running_mean=array([3.]), running_var=array([3.25]))
    >>> batch_norm(x, mean, var, eps=0.0)
    NormResult(output=array([[[1.5, 2.5]]]), running_mean=array([2.]), running_var=array([4.]))
    """
    return with_running(*over_batch(input, running_mean, running_var, weight, bias, training, momentum, eps, semantics))


def batch_norm_backward(
    grad_output: Array,
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> NormGradients:
    """Gradients of ``sum(grad_output * batch_norm(...).output)`` with respect to input, weight and bias.

    With ``h = dy * w[c]``, r = 1/sqrt(v + eps) and means over the channel: ``dx = r * (h - mean(h)
    - xhat * mean(h * xhat))`` in training; in evaluation, where m and v are constants, ``dx = r * h``.
    ``dw[c] = sum(dy * xhat)`` and ``db[c] = sum(dy)`` in both.

    Parameters
    ----------
    grad_output : (N, C, ...)
    output_mask : three bools, optional
        Which gradients to compute; all by default.
    input, running_mean, ...
        As in `batch_norm`; `momentum` has no influence.

    Returns
    -------
    NormGradients
        Each in the shape of its argument, None where masked or where the argument is None. Those of weight
        and bias are 0 where the batch is empty.

    Raises
    ------
    ValueError
        As `batch_norm`, and if `grad_output` does not have the output's shape or `output_mask` not three entries.
    TypeError
        As `batch_norm`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> g, x, w, var = np.array([[8], [0]]), np.array([[5], [7]]), np.array([1]), np.array([4])
    >>> batch_norm_backward(g, x, None, None, w, training=True, eps=3.0)
    NormGradients(input=array([[ 1.5],
           [-1.5]]), weight=array([-4.]), bias=None)
    >>> batch_norm_backward(g, x, w, var, w, w, eps=0.0)
    NormGradients(input=array([[4.],
           [0.]]), weight=array([16.]), bias=array([8.]))
    """
    norm, _ = over_batch(input, running_mean, running_var, weight, bias, training, momentum, eps, semantics)
    return backward(grad_output, norm, output_mask)


def instance_norm(
    input: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> NormResult:
    """Normalise each channel of each image over its pixels.

    ``y = w[c] * (x - m) / sqrt(v + eps) + b[c]``, with the image's own mean m and variance v, divided by n, or
    with the running ones. Running statistics are updated as in `batch_norm`, by the average over the images
    of m and of the variance divided by n - 1.

    Parameters
    ----------
    input : (N, C, ...)
        Any number of spatial axes; none only with running statistics.
    running_mean, running_var : (C,), optional
        Both or none; needed without `use_input_stats`.
    weight, bias : (C,), optional
    use_input_stats : bool
        Whether to use, and take in, the images' own statistics.
    momentum : float
    eps : float

    Returns
    -------
    NormResult
        Running statistics are as given without `use_input_stats`, and where the batch is empty.

    Raises
    ------
    ValueError
        If shapes do not fit, `eps` is negative, only one running statistic is given, none without
        `use_input_stats`, or images have one pixel with it.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> instance_norm(np.array([[[5, 7]], [[0, 2]]]), eps=3.0).output
    array([[[-0.5,  0.5]],
    <BLANKLINE>
           [[-0.5,  0.5]]])
    """
    return with_running(*over_image(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps))


def instance_norm_backward(
    grad_output: Array,
    input: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    output_mask: Sequence[bool] | None = None,
) -> NormGradients:
    """Gradients of ``sum(grad_output * instance_norm(...).output)`` with respect to input, weight and bias.

    The formulas of `batch_norm_backward`, with means over the pixels of one channel in one image.

    Parameters
    ----------
    grad_output : (N, C, ...)
    output_mask : three bools, optional
        Which gradients to compute; all by default.
    input, running_mean, ...
        As in `instance_norm`; `momentum` has no influence.

    Returns
    -------
    NormGradients

    Raises
    ------
    ValueError, TypeError
        As `instance_norm`, and as `batch_norm_backward` for `grad_output` and `output_mask`.

    Examples
    --------
    >>> import numpy as np
    >>> instance_norm_backward(np.array([[[8, 0]]]), np.array([[[5, 7]]]), weight=np.array([1]), eps=3.0)
    NormGradients(input=array([[[ 1.5, -1.5]]]), weight=array([-4.]), bias=None)
    """
    norm, _ = over_image(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    return backward(grad_output, norm, output_mask)
