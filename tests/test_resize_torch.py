"""Resampling beside torch: a second opinion on what the oracle judges, and on what it does not know."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import clconv
from tests.calls import assert_all_within_bound

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

CASES = [
    ("interpolate", (2, 3, 7), {"size": 5, "mode": "linear"}),
    ("interpolate", (2, 3, 7), {"scale_factor": 1.7, "mode": "linear"}),
    ("interpolate", (2, 3, 5, 4, 3), {"size": (3, 5, 7), "mode": "trilinear", "align_corners": True}),
    ("interpolate", (2, 3, 9, 8), {"size": (4, 5), "mode": "area"}),
    *(
        ("interpolate", (2, 3, 9, 7), {**size, "mode": mode, "align_corners": align_corners, "antialias": antialias})
        for mode, size, align_corners, antialias in itertools.product(
            ("bilinear", "bicubic"), ({"size": (4, 15)}, {"scale_factor": (0.6, 1.5)}), (False, True), (False, True)
        )
    ),
    ("interpolate", (2, 3, 5, 6), {"scale_factor": 2}),
    ("interpolate", (2, 3, 5, 6), {"size": (3, 4), "mode": "nearest-exact"}),
    ("interpolate", (2, 3, 5), {"scale_factor": 0.75, "recompute_scale_factor": True, "mode": "linear"}),
    ("pad", (2, 3, 4, 5), {"pad": (1, -2, -1, 3), "value": 2.5}),
    *(
        ("pad", (2, 3, 4, 5), {"pad": pad, "mode": mode})
        for mode in ("reflect", "replicate", "circular")
        for pad in ((1, 2, 2, 0), (-1, 2, 2, -1), (0, -3, 1, 1))
    ),
    ("pixel_shuffle", (2, 8, 3, 4), {"upscale_factor": 2}),
    ("pixel_unshuffle", (2, 2, 6, 9), {"downscale_factor": 3}),
    ("channel_shuffle", (2, 6, 3), {"groups": 3}),
]


@pytest.mark.parametrize(("operation", "shape", "arguments"), CASES)
def test_forward_and_backward_are_torchs(device, operation, shape, arguments):
    """Sums of weighted pixels within their bounds; copies, and sums of copied integers, exactly."""
    random = np.random.default_rng(0)
    is_exact = operation != "interpolate"
    x = random.standard_normal(shape)
    function = getattr(torch.nn.functional, operation)
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    y = function(leaf, *arguments.values()) if "shuffle" in operation else function(leaf, **arguments)
    g = random.integers(-9, 10, tuple(y.shape)).astype(float) if is_exact else random.standard_normal(tuple(y.shape))
    y.backward(torch.from_numpy(g))
    found = getattr(clconv, operation)(x, **arguments, device=device)
    gradient = getattr(clconv, f"{operation}_backward")(g, x, **arguments, device=device).input
    if is_exact:
        np.testing.assert_array_equal(found, y.detach().numpy())
        np.testing.assert_array_equal(gradient, leaf.grad.numpy())
        return
    assert_all_within_bound(operation, (found, y.detach().numpy()), x, **arguments)
    assert_all_within_bound(f"{operation}_backward", (gradient, leaf.grad.numpy()), g, x, **arguments)
