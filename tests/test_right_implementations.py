"""Right convolutions pass, whatever their order of summation, and Winograd's under its own class, for twenty seeds."""

from __future__ import annotations

import pytest

from clconv.oracle import check
from tests import right_implementations as right

JUDGED = [
    (right.conv2d_numpy_float32, "direct"),
    (right.conv2d_shuffled, "direct"),
    (right.conv2d_winograd, "winograd(4)"),
]
FEW = range(2)


def seeds():
    """Return twenty seeds, of which a few tell most of what there is to tell."""
    more = (pytest.mark.slow, pytest.mark.exhaustive)
    return [pytest.param(seed, marks=() if seed in FEW else more) for seed in range(20)]


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize(("implementation", "algorithm"), JUDGED, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_convolution_passes(implementation, algorithm, seed):
    report = check(implementation, op="conv2d", algorithm=algorithm, seed=seed, max_examples=30)
    assert report.passed, str(report)
    assert 0.1 < report.worst_ratio <= 1


@pytest.mark.parametrize("seed", FEW)
def test_right_gradients_pass(seed):
    report = check(right.conv2d_backward, op="conv2d_backward", seed=seed, max_examples=50)
    assert report.passed, str(report)


def test_winograds_convolution_is_no_direct_one():
    report = check(right.conv2d_winograd, op="conv2d", skip=["hostile", "refusals", "identities"])
    assert not report.passed
