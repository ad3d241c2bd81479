"""Deformable convolution, versions 1 and 2, and its gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import activation, check_mask, check_shape, plan_all, result_array, run, usable, vector
from clconv.plan import NO_LAUNCHES, Plan
from clconv.problem import DeformProblem

__all__ = ["DeformConvGradients", "deform_conv2d", "deform_conv2d_backward"]


class DeformConvGradients(NamedTuple):
    """Gradients of deform_conv2d's arguments; None where masked, or where there is no such array."""

    input: Any
    offset: Any
    weight: Any
    bias: Any
    mask: Any


@repeatable
def deform_conv2d(
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    mask: Any = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Convolve with taps that are moved, each at each output, by an offset, and scaled by a mask.

    The signature is that of torchvision.ops.deform_conv2d. With ``ic`` running over the channels of oc's group, and g
    the group of offsets that ic is in::

        y[n, oc, oh, ow] = b[oc] + sum over ic, kh, kw of w[oc, ic, kh, kw] * m[n, g, kh, kw, oh, ow]
            * x(n, ic, oh*SH - PH + kh*DH + offset[n, g, kh, kw, 0, oh, ow],
                       ow*SW - PW + kw*DW + offset[n, g, kh, kw, 1, oh, ow])

    Between four pixels, x is bilinear; beyond the image it is zero. Pixels whose weight is zero are not read, so that
    offsets of zero give a plain convolution, infinities included. (J. Dai et al., ICCV 2017; with the mask X. Zhu et
    al., CVPR 2019.)

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, IC, IH, IW). float16, float32 or float64, any strides.
    offset : array
        Shape (N, 2 * OG * KH * KW, OH, OW): for each of OG groups of input channels and each tap, how many rows down
        and how many columns to the right it is moved.
    weight : array
        Shape (OC, IC / G, KH, KW); the number of groups G follows from it.
    bias : array, optional
        Shape (OC,).
    stride, padding, dilation
        As for :func:`clconv.conv2d`; padding has no words.
    mask : array, optional
        Shape (N, OG * KH * KW, OH, OW). Without it nothing is scaled (version 1).
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        y, of shape (N, OC, OH, OW).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Notes
    -----
    What the taps read is kept, in the arrays' type, until the products are summed: about KH * KW times the input's
    memory.

    Examples
    --------
    >>> import numpy
    >>> image = numpy.array([[[[1, 3, 7]]]], "float32")
    >>> half_a_pixel_right = numpy.zeros((1, 2, 1, 3), "float32")
    >>> half_a_pixel_right[:, 1] = 0.5
    >>> deform_conv2d(image, half_a_pixel_right, numpy.ones((1, 1, 1, 1), "float32"))
    array([[[[2. , 5. , 3.5]]]], dtype=float32)
    """
    arrays, problem = _checked(
        stride, padding, dilation, input=input, offset=offset, weight=weight, bias=bias, mask=mask
    )
    if out is not None:
        check_out(out, problem.output_shape, problem.dtype, arrays)
    executor = executor_for(device, arrays["input"], problem.dtype)
    arrays = usable(executor, arrays)
    result = result_array(executor, out, problem.output_shape, problem.dtype, arrays["input"])
    operands = {**_operands(problem, arrays), "x": _columns(problem, executor, arrays), "y": _plane(result)}
    plan = plan_all(["deform_columns"], problem, executor) + plan_all(["conv_fwd"], problem.convolution, executor)
    return run(executor, plan, operands, result, out)


@repeatable
def deform_conv2d_backward(
    grad_output: Any,
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    mask: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> DeformConvGradients:
    """Return the gradients of :func:`deform_conv2d`.

    On a whole row or column, where x has a kink, the gradient of the offset is that towards the next one, as in
    torchvision. The input's gradient is summed in a fixed order: the same bits on every run.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape (N, OC, OH, OW).
    input, offset, weight, bias, stride, padding, dilation, mask, device
        As :func:`deform_conv2d` was called with.
    output_mask : sequence of five bools, optional
        Which gradients to compute: of input, offset, weight, bias and mask.

    Returns
    -------
    DeformConvGradients
        Gradients of the shapes of the arguments; None where masked, and for a bias or mask that there is not.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> image, still = numpy.array([[[[1, 3, 7]]]], "float32"), numpy.zeros((1, 2, 1, 3), "float32")
    >>> one = numpy.ones((1, 1, 1, 1), "float32")
    >>> deform_conv2d_backward(numpy.ones((1, 1, 1, 3), "float32"), image, still, one).offset[0, 1]
    array([[ 2.,  4., -7.]], dtype=float32)
    """
    wanted = check_mask(output_mask, DeformConvGradients._fields)
    arrays, problem = _checked(
        stride,
        padding,
        dilation,
        input=input,
        offset=offset,
        weight=weight,
        bias=bias,
        mask=mask,
        grad_output=grad_output,
    )
    check_shape("grad_output", arrays["grad_output"], problem.output_shape, "the output's shape")
    executor = executor_for(device, arrays["input"], problem.dtype)
    arrays = usable(executor, arrays)
    gradients = DeformConvGradients(
        *(
            executor.empty(tuple(arrays[name].shape), problem.dtype, arrays["input"])
            if flag and arrays[name] is not None
            else None
            for name, flag in zip(DeformConvGradients._fields, wanted, strict=True)
        )
    )
    executor.run(_backward_plan(problem, executor, gradients), _backward_operands(problem, executor, arrays, gradients))
    return gradients


def _backward_plan(problem: DeformProblem, executor: Executor, gradients: DeformConvGradients) -> Plan:
    """Return the passes that the wanted gradients need, each once."""
    convolution = problem.convolution
    plan = NO_LAUNCHES
    if gradients.weight is not None:
        plan += plan_all(["deform_columns"], problem, executor) + plan_all(["conv_bwd_weights"], convolution, executor)
    if gradients.bias is not None:
        plan += plan_all(["conv_bwd_bias"], convolution, executor)
    moved = [name for name in ("offset", "mask") if getattr(gradients, name) is not None]
    if moved or gradients.input is not None:
        plan += plan_all(["conv_bwd_data"], convolution, executor)
    if moved:
        plan += plan_all([f"deform_bwd_{'_and_'.join(moved)}"], problem, executor)
    if gradients.input is not None:
        plan += plan_all(["deform_bwd_data"], problem, executor)
    return plan


def _backward_operands(
    problem: DeformProblem, executor: Executor, arrays: dict[str, Any], gradients: DeformConvGradients
) -> dict[str, Operand]:
    operands = {
        **_operands(problem, arrays),
        "dy": _plane(arrays["grad_output"]),
        "a": _plane(arrays["grad_output"]),
        "ddata": _plane(gradients.input),
        "doffset": _plane(gradients.offset),
        "dw": _kernel(gradients.weight),
        "db": Operand(gradients.bias, 0, (0, vector(gradients.bias).strides[0], 0, 0, 0)),
        "dmask": _plane(gradients.mask),
        "b": vector(None),
    }
    if gradients.weight is not None:
        operands["x"] = _columns(problem, executor, arrays)
    if any(gradient is not None for gradient in (gradients.input, gradients.offset, gradients.mask)):
        operands["dx"] = _columns(problem, executor, arrays)
    return operands


def _checked(stride: Any, padding: Any, dilation: Any, **given: Any) -> tuple[dict[str, Any], DeformProblem]:
    """Return the arrays by name, None where one is left out, and the problem that they make."""
    absent = {name: None for name in ("bias", "mask") if given[name] is None}
    arrays, dtype = check_arrays(**{name: array for name, array in given.items() if name not in absent})
    x, o, w = (tuple(arrays[name].shape) for name in ("input", "offset", "weight"))
    bias, mask = "bias" not in absent, "mask" not in absent
    problem = DeformProblem.from_shapes(x, o, w, stride, padding, dilation, bias=bias, mask=mask, dtype=dtype)
    if bias:
        rule = "one value for each output channel, shape"
        check_shape("bias", arrays["bias"], problem.output_shape[1:2], rule)
    if mask:
        check_shape("mask", arrays["mask"], problem.mask_shape, "one value for each tap of each group, shape")
    return {**arrays, **absent}, problem


def _operands(problem: DeformProblem, arrays: dict[str, Any]) -> dict[str, Operand]:
    """Return what the forward pass reads."""
    return {
        "data": _plane(arrays["input"]),
        "offset": _plane(arrays["offset"]),
        "mask": _plane(arrays["mask"]),
        "w": _kernel(arrays["weight"]),
        "b": vector(arrays["bias"]),
    }


def _columns(problem: DeformProblem, executor: Executor, arrays: dict[str, Any]) -> Operand:
    """Return memory for what the taps read, or for its gradient, as the data of the convolution."""
    return activation(problem.convolution, executor.empty(problem.columns_shape, problem.dtype, arrays["input"]))


def _plane(array: Any) -> Operand:
    """Return an array of two spatial axes, or none, as kernels with three walk it."""
    if array is None:
        return Operand(None, 0, (0,) * 5)
    n, c, h, w = element_strides(array)
    return Operand(array, 0, (n, c, 0, h, w))


def _kernel(array: Any) -> Operand:
    """Return a weight, or none, as that of the convolution of what was read, whose last axis is one tap."""
    return Operand(array, 0, (0,) * 5 if array is None else (*element_strides(array), 0))
