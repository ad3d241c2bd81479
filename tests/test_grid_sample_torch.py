"""grid_sample beside torch, both within the bound around the oracle's reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import clconv
from tests.calls import assert_all_within_bound

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

CASES = [
    *itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True), (2,)),
    *itertools.product(("bilinear", "nearest"), ("zeros", "border", "reflection"), (False, True), (3,)),
]


@pytest.mark.parametrize(("mode", "padding_mode", "align_corners", "rank"), CASES)
def test_values_and_gradients_are_torchs(device, mode, padding_mode, align_corners, rank):
    """Also far outside the image, and for an axis of one pixel."""
    random = np.random.default_rng(0)
    for extents in ((5, 4, 6)[-rank:], (3, 1, 2)[-rank:]):
        x = random.standard_normal((2, 3, *extents))
        grid = random.uniform(-4, 4, (2, *(4, 5, 6)[-rank:], rank))
        leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, grid)]
        options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
        y = torch.nn.functional.grid_sample(*leaves, **options)
        g = random.standard_normal(tuple(y.shape))
        y.backward(torch.from_numpy(g))
        found = clconv.grid_sample(x, grid, **options, device=device)
        assert_all_within_bound("grid_sample", (found, y.detach().numpy()), x, grid, **options)
        gradients = clconv.grid_sample_backward(g, x, grid, **options, device=device)
        theirs = tuple(leaf.grad.numpy() for leaf in leaves)
        assert_all_within_bound("grid_sample_backward", (gradients, theirs), g, x, grid, **options)
