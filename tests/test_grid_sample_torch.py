"""grid_sample, and the oracle's reference of it, beside torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import clconv
from clconv.oracle import reference

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
        for module, where in ((clconv, {"device": device}), (reference, {})):
            found = module.grid_sample(x, grid, **options, **where)
            np.testing.assert_allclose(found, y.detach().numpy(), rtol=0, atol=1e-12)
            gradients = module.grid_sample_backward(g, x, grid, **options, **where)
            for ours, leaf in zip(gradients, leaves, strict=True):
                np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=0, atol=1e-11)
