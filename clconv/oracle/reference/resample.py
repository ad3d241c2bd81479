"""Resizing an image (interpolate) and its gradient, in float64, as torch, ONNX, TensorFlow and SciPy define it.

The systems differ in where a position of the output lies among the input's pixels (`reference.resample_coordinates`
has the formulas), in what nearest means, in the cubic kernel's coefficient a, and at the edge:

========  ==========================  ==================================  =====================================
          coordinates                 nearest                             cubic
========  ==========================  ==================================  =====================================
torch     half_pixel; align_corners   "nearest": asymmetric, floor;       a = -0.75, edge pixels repeated;
                                      "nearest-exact": half_pixel, half   antialiased a = -0.5, no pixels outside
                                      up
onnx      coordinate_mode             nearest_mode                        cubic_coefficient, edge pixels
                                                                          repeated unless exclude_outside
tf        half_pixel                  half up                             a = -0.5, no pixels outside
scipy     align_corners; half_pixel   half up                             splines instead: not offered
          with grid_mode
========  ==========================  ==================================  =====================================

- The extent of the output is ``floor(extent*scale_factor)``, in SciPy ``round(extent*scale_factor)``, a
  product of float64. Coordinates use ``1/scale_factor`` in torch and ONNX, the ratio of the extents in SciPy
  and with torch's recompute_scale_factor. TensorFlow takes sizes only.
- Coordinates are exact. The factor stands for the simplest fraction that rounds to it, of a denominator up to
  2**20: 0.1 means 1/10 and 10/3 means 10/3. Else it is taken as it is.
- Antialiasing widens the kernel by the distance of neighbouring positions where that exceeds 1, and divides
  the weights by their sum. ONNX repeats edge pixels then too. torch's align_corners changes only the
  step of its antialiased modes: ``p = (o + 1/2) step - 1/2`` with ``step = (extent - 1)/(positions - 1)``.
- torch's "area" is its adaptive average pooling: windows of whole pixels.
- "tf" is tf.image.resize, and jax.image.resize, with half-pixel centres. TensorFlow itself rounds the
  coordinates of its cubic mode without antialias to multiples of 1/1024, which is not modelled.
- "scipy" is scipy.ndimage.zoom of order 0 and 1 with mode="nearest", which repeats edge pixels.
- ONNX's text defines align_corners by the output's whole extent, and pytorch_half_pixel of a single position
  as 0, where onnx's own reference takes extent*scale and -1/2. Its tf_crop_and_resize is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, Size, real_array, requested, require_output_shape
from clconv.oracle.reference.resample_arguments import Resizing, Scale
from clconv.oracle.reference.resample_coordinates import through, weights

__all__ = ["InterpolateGradients", "interpolate", "interpolate_backward"]

Array = NDArray[Any]


class InterpolateGradients(NamedTuple):
    """Gradient of `interpolate`; None where masked."""

    input: FloatArray | None


def interpolate(
    input: Array,
    size: Size | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    semantics: str = "torch",
    coordinate_mode: str | None = None,
    nearest_mode: str | None = None,
    cubic_coefficient: float | None = None,
    exclude_outside: bool = False,
    grid_mode: bool = False,
) -> FloatArray:
    """Resize images, along each spatial axis by the weights of `reference.resample_coordinates`.

    ``y[n, c, oh, ow] = sum(wh[oh, ih] * ww[ow, iw] * x[n, c, ih, iw] for ih, iw)``

    Parameters
    ----------
    input : (N, C, *extent)
        With one to three spatial axes.
    size : int or tuple, optional
        Extent of the output; one of size and scale_factor is given.
    scale_factor : number or tuple, optional
        What to multiply the extent with; coordinates use 1/scale_factor, not the ratio of the extents.
    mode : str
        torch: "nearest", "nearest-exact", "linear", "bilinear", "trilinear" (by the number of axes), "bicubic"
        or "area". onnx: "nearest", "linear", "cubic". tf, scipy: torch's names of what they have.
    align_corners : bool, optional
        torch's linear and cubic modes: the centres of corner pixels stay where they are.
    recompute_scale_factor : bool, optional
        torch: use the ratio of the extents in place of 1/scale_factor.
    antialias : bool
        Widen the kernel where the output has fewer pixels.
    semantics : str
        "torch", "onnx", "tf" or "scipy": see the module's table.
    coordinate_mode : str, optional
        onnx: "half_pixel" (the default), "half_pixel_symmetric", "pytorch_half_pixel", "align_corners" or
        "asymmetric".
    nearest_mode : str, optional
        onnx: "round_prefer_floor" (the default), "round_prefer_ceil", "floor" or "ceil".
    cubic_coefficient : float, optional
        onnx: a of the cubic kernel, between -1 and 0; -0.75 by default.
    exclude_outside : bool
        onnx: give pixels outside the image no weight, instead of repeating the edge.
    grid_mode : bool
        scipy: zoom the whole of the pixels, not the distances of their centres.

    Returns
    -------
    (N, C, *size)

    Raises
    ------
    ValueError
        If `input` has the wrong number of axes or an empty spatial one, the output would be empty, a word is
        unknown or does not go with another, or not exactly one of size and scale_factor is given.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> interpolate(np.array([[[0, 16, 32]]]), scale_factor=2, mode="linear")
    array([[[ 0.,  4., 12., 20., 28., 32.]]])
    >>> interpolate(np.array([[[0, 16, 32]]]), 5, mode="linear", align_corners=True)
    array([[[ 0.,  8., 16., 24., 32.]]])
    """
    x = _images(input)
    axes = Resizing(
        size,
        scale_factor,
        mode,
        align_corners,
        recompute_scale_factor,
        antialias,
        semantics,
        coordinate_mode,
        nearest_mode,
        cubic_coefficient,
        exclude_outside,
        grid_mode,
    ).axes(x.shape[2:])
    return through([weights(axis) for axis in axes], x)


def interpolate_backward(
    grad_output: Array,
    input: Array,
    size: Size | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    semantics: str = "torch",
    coordinate_mode: str | None = None,
    nearest_mode: str | None = None,
    cubic_coefficient: float | None = None,
    exclude_outside: bool = False,
    grid_mode: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> InterpolateGradients:
    """Gradient of ``sum(grad_output * interpolate(...))``: the transposed weights.

    Parameters
    ----------
    grad_output : (N, C, *size)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias, semantics, \
coordinate_mode, nearest_mode, cubic_coefficient, exclude_outside, grid_mode
        As in `interpolate`; only the shape of `input` matters.

    Returns
    -------
    InterpolateGradients

    Raises
    ------
    ValueError
        As `interpolate`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `interpolate`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> interpolate_backward(np.array([[[0, 16, 32, 16]]]), np.zeros((1, 1, 2)), scale_factor=2, mode="linear")
    InterpolateGradients(input=array([[[20., 44.]]]))
    """
    x = _images(input)
    axes = Resizing(
        size,
        scale_factor,
        mode,
        align_corners,
        recompute_scale_factor,
        antialias,
        semantics,
        coordinate_mode,
        nearest_mode,
        cubic_coefficient,
        exclude_outside,
        grid_mode,
    ).axes(x.shape[2:])
    g = require_output_shape(grad_output, (*x.shape[:2], *(axis.positions for axis in axes)), has_batch=True)
    if not requested(output_mask, InterpolateGradients._fields)[0]:
        return InterpolateGradients(None)
    return InterpolateGradients(through([weights(axis).T.tocsr() for axis in axes], g))


def _images(input: Array) -> FloatArray:
    x = real_array("input", input)
    if not 3 <= x.ndim <= 5:
        raise ValueError(f"input must have 3 to 5 axes, (N, C) and 1 to 3 spatial ones, got input.shape={x.shape}")
    return x
