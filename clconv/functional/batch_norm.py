"""Normalisations with running statistics: over the batch, and over each image by itself."""

from __future__ import annotations

from typing import Any

from clconv.arguments import flag, integer, real
from clconv.functional._normalisation import RUNNING, NormGradients, Rule, backward, checked_eps, forward, given_arrays
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask
from clconv.functional.epilogue import Epilogue
from clconv.problem import NormAxes

__all__ = ["batch_norm", "batch_norm_backward", "instance_norm", "instance_norm_backward"]


@repeatable
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: Any = None,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Normalise each channel over the batch and all its pixels.

    ``y = weight[c] * (x - mean[c]) / sqrt(var[c] + eps) + bias[c]``. In training mean and variance are the batch's
    own, the variance divided by n, the number of values in a channel; otherwise they are the running ones. Training
    also updates the running statistics, in place: each becomes ``(1 - momentum) * running + momentum * batch``, where
    the batch's variance is divided by n - 1.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C) or (N, C, *spatial). float16, float32 or float64, any strides.
    running_mean, running_var : array of shape (C,) or None
        Both or none; needed in evaluation, updated in training.
    weight, bias : array of shape (C,), optional
    training : bool
        Whether to normalise by the batch's statistics.
    momentum : float or None
        The batch's share in the new running statistics. None, as in ``torch.nn.BatchNorm2d``, makes them the average
        over all batches so far.
    eps : float
        Added to the variance; above 0 in training.
    num_batches_tracked : int, optional
        How many batches the running statistics hold already, for ``momentum=None``. It is not changed.
    epilogue : clconv.Epilogue, optional
        What is done to the output before it is stored.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape.

    Raises
    ------
    ValueError
        If shapes do not fit, a running statistic is missing, training has one value per channel, or running
        statistics that are to be updated cannot be written, or overlap another array. They are unchanged then.
    TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> x, mean, var = numpy.array([[5.0], [7.0]]), numpy.array([2.0]), numpy.array([4.0])
    >>> batch_norm(x, mean, var, training=True, momentum=0.5, eps=3.0).ravel()
    array([-0.5,  0.5])
    >>> mean, var
    (array([4.]), array([3.]))
    """
    arrays, dtype = given_arrays(
        epilogue, input=input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    axes, rule = _batch(arrays, training, momentum, num_batches_tracked, eps)
    return forward(axes, rule, arrays, dtype, out, device, epilogue, _updated(rule, running_mean, running_var))


@repeatable
def batch_norm_backward(
    grad_output: Any,
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: Any = None,
    output_mask: Any = None,
    device: Any = None,
) -> NormGradients:
    """Return the gradients of :func:`batch_norm`.

    With ``h = grad_output * weight[c]``, ``r = 1/sqrt(var + eps)``, ``xhat = (x - mean) * r`` and means over a channel,
    ``dx = r * (h - mean(h) - xhat * mean(h * xhat))`` in training, and ``dx = r * h`` in evaluation, where the
    statistics are constants. ``dw[c] = sum(grad_output * xhat)``, ``db[c] = sum(grad_output)``.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, running_mean, running_var, weight, bias, training, momentum, eps, num_batches_tracked, device
        As :func:`batch_norm` was called with. Running statistics are not updated.
    output_mask : sequence of three bools, optional
        Which of the gradients of input, weight and bias to compute.

    Returns
    -------
    NormGradients
        Each of its argument's shape, None where masked or where the argument is None.

    Examples
    --------
    >>> import numpy
    >>> g, x, w = numpy.array([[8.0], [0.0]]), numpy.array([[5.0], [7.0]]), numpy.array([1.0])
    >>> dx, dw, db = batch_norm_backward(g, x, None, None, w, w, training=True, eps=3.0)
    >>> dx.ravel(), dw, db
    (array([ 1.5, -1.5]), array([-4.]), array([8.]))
    """
    mask = check_mask(output_mask, NormGradients._fields)
    arrays, dtype = given_arrays(
        input=input,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
        grad_output=grad_output,
    )
    return backward(*_batch(arrays, training, momentum, num_batches_tracked, eps), arrays, dtype, mask, device)


@repeatable
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: float = 1e-5,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Normalise each channel of each image over its pixels.

    ``y = weight[c] * (x - mean) / sqrt(var + eps) + bias[c]`` with the mean and the variance, divided by the number of
    pixels, of this channel in this image, or with the running ones. Running statistics are updated in place, as by
    :func:`batch_norm`, with the averages over the images of the mean, and of the variance divided by one pixel less.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, *spatial). float16, float32 or float64, any strides.
    running_mean, running_var : array of shape (C,), optional
        Both or none; needed without ``use_input_stats``, updated with it.
    weight, bias : array of shape (C,), optional
    use_input_stats : bool
        Whether to normalise by the images' own statistics.
    momentum : float
        Their share in the new running statistics.
    eps : float
        Added to the variance.
    epilogue : clconv.Epilogue, optional
        What is done to the output before it is stored.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape.

    Raises
    ------
    ValueError
        As :func:`batch_norm`, and if images have a single pixel while their own statistics are to be used.
    TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> instance_norm(numpy.array([[[5.0, 7.0]], [[0.0, 2.0]]]), eps=3.0).reshape(2, 2)
    array([[-0.5,  0.5],
           [-0.5,  0.5]])
    """
    arrays, dtype = given_arrays(
        epilogue, input=input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    axes, rule = _images(arrays, use_input_stats, momentum, eps)
    return forward(axes, rule, arrays, dtype, out, device, epilogue, _updated(rule, running_mean, running_var))


@repeatable
def instance_norm_backward(
    grad_output: Any,
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: float = 1e-5,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> NormGradients:
    """Return the gradients of :func:`instance_norm`.

    The formulas of :func:`batch_norm_backward`, with means over the pixels of one channel in one image.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps, device
        As :func:`instance_norm` was called with. Running statistics are not updated.
    output_mask : sequence of three bools, optional
        Which of the gradients of input, weight and bias to compute.

    Returns
    -------
    NormGradients
        Each of its argument's shape, None where masked or where the argument is None.

    Examples
    --------
    >>> import numpy
    >>> instance_norm_backward(numpy.array([[[8.0, 0.0]]]), numpy.array([[[5.0, 7.0]]]), eps=3.0).input
    array([[[ 1.5, -1.5]]])
    """
    mask = check_mask(output_mask, NormGradients._fields)
    arrays, dtype = given_arrays(
        input=input,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
        grad_output=grad_output,
    )
    return backward(*_images(arrays, use_input_stats, momentum, eps), arrays, dtype, mask, device)


def _batch(
    arrays: dict[str, Any], training: Any, momentum: Any, num_batches_tracked: Any, eps: Any
) -> tuple[NormAxes, Rule]:
    """Return what batch_norm's arguments mean."""
    axes = NormAxes.of_batch(arrays["input"].shape)
    rule = _rule(arrays, "training", training, _share(momentum, num_batches_tracked), eps)
    if not rule.given and axes.n == 1:
        raise ValueError(f"training takes more than one value per channel: input.shape={axes.input_shape}")
    if not rule.given and rule.eps == 0:
        raise ValueError(f"eps must be above 0 in training: eps={eps!r}")
    # With given statistics nothing ties the images together, and one by one they are walked in the order of memory.
    return NormAxes.of_images(axes.input_shape) if rule.given and len(axes.input_shape) > 2 else axes, rule


def _images(arrays: dict[str, Any], use_input_stats: Any, momentum: Any, eps: Any) -> tuple[NormAxes, Rule]:
    """Return what instance_norm's arguments mean."""
    axes = NormAxes.of_images(arrays["input"].shape)
    rule = _rule(arrays, "use_input_stats", use_input_stats, real(momentum, "momentum"), eps)
    if not rule.given and axes.n == 1:
        raise ValueError(f"use_input_stats takes more than one pixel per channel: input.shape={axes.input_shape}")
    return axes, rule


def _rule(arrays: dict[str, Any], switch: str, uses_own: Any, share: float, eps: Any) -> Rule:
    """Return how rows are normalised, after checking that the running statistics that it takes are there."""
    given = not flag(uses_own, switch)
    missing = [name for name in RUNNING if arrays[name] is None]
    if given and missing:
        raise ValueError(f"{switch}=False needs running_mean and running_var: {missing[0]}=None")
    if len(missing) == 1:
        raise ValueError(f"running_mean and running_var must be given together: {missing[0]}=None")
    return Rule(checked_eps(eps), given=given, share=None if given or missing else share)


def _updated(rule: Rule, running_mean: Any, running_var: Any) -> dict[str, Any]:
    """Return the caller's running statistics if they are to be updated."""
    return {} if rule.share is None else {"running_mean": running_mean, "running_var": running_var}


def _share(momentum: Any, num_batches_tracked: Any) -> float:
    """Return the share of a batch in new running statistics: the momentum, or what makes them an average."""
    if momentum is not None:
        if num_batches_tracked is not None:
            raise ValueError(f"num_batches_tracked is for momentum=None: momentum={momentum!r}")
        return real(momentum, "momentum")
    if num_batches_tracked is None:
        raise ValueError("momentum=None needs num_batches_tracked: num_batches_tracked=None")
    return 1 / (integer(num_batches_tracked, "num_batches_tracked", least=0) + 1)
