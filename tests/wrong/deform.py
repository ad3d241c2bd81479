"""Deformable convolution tap by tap with a method for every step, and what comes out where one step is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import WrongImplementation


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise ValueError(rule)


def pair(name: str, value: Any, least: int) -> tuple[int, int]:
    first, second = value if isinstance(value, tuple) else (value, value)
    require(first >= least and second >= least, f"{name} is at least {least}, got {value}")
    return first, second


class DeformConv:
    """deform_conv2d: for every tap, an image of what it reads at every output."""

    def __call__(self, input, offset, weight, bias=None, stride=1, padding=0, dilation=1, mask=None):
        S, P, D = pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
        require(input.ndim == offset.ndim == weight.ndim == 4, "arrays have four axes")
        N, C, IH, IW = input.shape
        OC, ICG, KH, KW = weight.shape
        OH, OW = (
            (i + 2 * p - d * (k - 1) - 1) // s + 1 for i, p, d, k, s in zip((IH, IW), P, D, (KH, KW), S, strict=True)
        )
        require(OH > 0 and OW > 0, "the window fits")
        require(C % ICG == 0 and OC % (C // ICG) == 0, "groups")
        groups = self.groups(offset, weight)
        require(groups > 0 and C % groups == 0, "offset groups")
        require(offset.shape == (N, 2 * groups * KH * KW, OH, OW), f"offset has shape {offset.shape}")
        require(mask is None or mask.shape == (N, groups * KH * KW, OH, OW), "mask's shape")
        require(bias is None or bias.shape == (OC,), "bias's shape")
        y = np.zeros((N, OC, OH, OW), input.dtype)
        o = np.meshgrid(np.arange(OH) * S[0] - P[0], np.arange(OW) * S[1] - P[1], indexing="ij")
        for kh in range(KH):
            for kw in range(KW):
                for c in range(C):
                    group = self.group(c, C // groups)
                    rows, columns = self.moves(offset, group, kh, kw, weight)
                    read = self.read(input[:, c], o[0] + kh * D[0] + rows, o[1] + kw * D[1] + columns)
                    if mask is not None:
                        read = self.scaled(read, mask[:, (group * KH + kh) * KW + kw])
                    first = c // ICG * (OC // (C // ICG))
                    for oc in range(first, first + OC // (C // ICG)):
                        y[:, oc] += weight[oc, c % ICG, kh, kw] * read
        return y if bias is None else y + bias[:, None, None]

    def groups(self, offset, weight):
        taps = weight.shape[2] * weight.shape[3]
        require(offset.shape[1] % (2 * taps) == 0, "two channels for each tap")
        return offset.shape[1] // (2 * taps)

    def group(self, c, channels):
        return c // channels

    def scaled(self, read, mask):
        return read * mask

    def moves(self, offset, group, kh, kw, weight):
        tap = (group * weight.shape[2] + kh) * weight.shape[3] + kw
        return offset[:, 2 * tap], offset[:, 2 * tap + 1]

    def read(self, image, rows, columns):
        top, left = np.floor(rows), np.floor(columns)
        down, right = (rows - top).astype(image.dtype), (columns - left).astype(image.dtype)
        corners = [
            self.pixel(image, top + i, left + j) * (down if i else 1 - down) * (right if j else 1 - right)
            for i in (0, 1)
            for j in (0, 1)
        ]
        return sum(corners)

    def pixel(self, image, row, column):
        _, IH, IW = image.shape
        inside = (row >= 0) & (row < IH) & (column >= 0) & (column < IW)
        n = np.arange(len(image))[:, None, None]
        at = np.clip(row, 0, IH - 1).astype(int), np.clip(column, 0, IW - 1).astype(int)
        return self.beyond(image[n, at[0], at[1]], inside)

    def beyond(self, values, inside):
        return np.where(inside, values, values.dtype.type(0))


class ColumnsThenRows(DeformConv):
    def moves(self, offset, group, kh, kw, weight):
        return super().moves(offset, group, kh, kw, weight)[::-1]


class RowsBeforeColumns(DeformConv):
    def moves(self, offset, group, kh, kw, weight):
        taps = weight.shape[2] * weight.shape[3]
        first = 2 * group * taps + kh * weight.shape[3] + kw
        return offset[:, first], offset[:, first + taps]


class TapsByColumn(DeformConv):
    def moves(self, offset, group, kh, kw, weight):
        tap = group * weight.shape[2] * weight.shape[3] + kw * weight.shape[2] + kh
        return offset[:, 2 * tap], offset[:, 2 * tap + 1]


class FirstGroup(DeformConv):
    def moves(self, offset, group, kh, kw, weight):
        return super().moves(offset, 0, kh, kw, weight)


class WithoutMask(DeformConv):
    def scaled(self, read, mask):
        return read


class Nearest(DeformConv):
    def read(self, image, rows, columns):
        return self.pixel(image, np.floor(rows + 0.5), np.floor(columns + 0.5))


class Replicated(DeformConv):
    def beyond(self, values, inside):
        return values


class HalfInside(DeformConv):
    """Reads zero as soon as one corner lies outside."""

    def read(self, image, rows, columns):
        _, IH, IW = image.shape
        inside = (rows >= 0) & (rows <= IH - 1) & (columns >= 0) & (columns <= IW - 1)
        return np.where(inside, super().read(image, rows, columns), image.dtype.type(0))


RIGHT = {"deform_conv2d": DeformConv()}
WRONG = [
    WrongImplementation(name, "deform_conv2d", implementation, cause)
    for name, implementation, cause in (
        ("rows and columns of the offsets exchanged", ColumnsThenRows(), "rows and columns of the offsets"),
        ("all rows of the offsets before all columns", RowsBeforeColumns(), "all rows of the offsets"),
        ("the offsets' taps by column", TapsByColumn(), "column by column"),
        ("one group's offsets for all channels", FirstGroup(), "first group's offsets"),
        ("no mask", WithoutMask(), "the mask is ignored"),
        ("the nearest pixel instead of four", Nearest(), ""),
        ("the edge repeated beyond the image", Replicated(), ""),
        ("zero as soon as one of the four pixels is outside", HalfInside(), ""),
    )
]
