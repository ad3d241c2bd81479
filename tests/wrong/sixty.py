"""Sixty wrong implementations, one for each classic bug that can be had."""

from __future__ import annotations

from tests.wrong import blocks, conv, conv_backward, conv_transpose, deform, general, norm, pool, rearrange, resample

FAMILIES = (conv, conv_backward, conv_transpose, blocks, general, pool, norm, resample, rearrange, deform)
WRONG = [wrong for family in FAMILIES for wrong in family.WRONG]


def sixty():
    """Return the first wrong implementation with each classic bug, and more until there are sixty."""
    by_line = {}
    for wrong in WRONG:
        by_line.setdefault(wrong.line, wrong)
    classic = [wrong for line, wrong in by_line.items() if line]
    others = [wrong for wrong in (*deform.WRONG, *rearrange.WRONG) if wrong.line == 0]
    return (classic + others)[:60]
