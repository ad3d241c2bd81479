"""What benchmarks/network.py measures: calls that clconv and torch.nn.functional take in the same words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

#: A feature map of 6.4 million values, 25.7 MB in float32: larger than the caches that a core has to itself.
SHAPE = (8, 64, 112, 112)
ROWS = (4096, 1024)

Array = np.ndarray[Any, Any]


class Case(NamedTuple):
    """An operation, the shapes of its arrays by their names, and its other arguments."""

    family: str
    name: str
    operation: str
    arguments: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    def arrays(self, random: np.random.Generator) -> dict[str, Array]:
        """Return normal random arrays of the case's shapes."""
        return {name: random.standard_normal(shape, np.float32) for name, shape in self.shapes.items()}


def case(
    family: str,
    name: str,
    operation: str,
    shape: tuple[int, ...] = SHAPE,
    parameters: tuple[str, ...] = (),
    **others: Any,
) -> Case:
    """Return a case; its parameters have one value per channel, or per column of the rows."""
    shapes = {"input": shape, **dict.fromkeys(parameters, (shape[1],))}
    return Case(family, f"{operation} {name}".strip(), operation, others, shapes)


AFFINE = ("weight", "bias")

CASES = [
    case("pool", "3x3/2, padding 1", "max_pool2d", kernel_size=3, stride=2, padding=1),
    case("pool", "2x2/2", "max_pool2d", kernel_size=2),
    case("pool", "2x2/2", "avg_pool2d", kernel_size=2),
    case("pool", "3x3/1, padding 1", "avg_pool2d", kernel_size=3, stride=1, padding=1),
    case("pool", "7x7", "adaptive_avg_pool2d", output_size=7),
    case("pool", "1x1", "adaptive_avg_pool2d", output_size=1),
    case("pool", "7x7", "adaptive_max_pool2d", output_size=7),
    case("pool", "2, 2x2/2", "lp_pool2d", norm_type=2.0, kernel_size=2),
    case("norm", "training", "batch_norm", parameters=AFFINE, running_mean=None, running_var=None, training=True),
    case("norm", "32 groups", "group_norm", parameters=AFFINE, num_groups=32),
    case("norm", "", "instance_norm", parameters=AFFINE),
    case("norm", "4096 rows of 1024", "layer_norm", ROWS, AFFINE, normalized_shape=(1024,)),
    case("norm", "4096 rows of 1024", "rms_norm", ROWS, ("weight",), normalized_shape=(1024,)),
    case("norm", "5", "local_response_norm", size=5),
    case("resize", "nearest x2", "interpolate", scale_factor=2.0),
    case("resize", "bilinear x2", "interpolate", scale_factor=2.0, mode="bilinear"),
    case("resize", "bicubic x2", "interpolate", scale_factor=2.0, mode="bicubic"),
    case("resize", "bilinear /2, antialias", "interpolate", scale_factor=0.5, mode="bilinear", antialias=True),
    case("resize", "1, constant", "pad", pad=(1, 1, 1, 1)),
    case("resize", "1, reflect", "pad", pad=(1, 1, 1, 1), mode="reflect"),
    case("resize", "2", "pixel_shuffle", upscale_factor=2),
    case("elementwise", "", "relu"),
    case("elementwise", "", "hardswish"),
    case("elementwise", "", "silu"),
    case("elementwise", "", "gelu"),
    case("elementwise", "over channels", "softmax", dim=1),
    case("elementwise", "4096 rows of 1024", "log_softmax", ROWS, dim=-1),
]
