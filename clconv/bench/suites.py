"""The distinct convolution layers of networks, from the papers that describe them.

Where a paper's input makes problems of minutes, as those of the U-Nets do, a smaller one keeps all channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clconv.bench.layers import Case, Layer, layer

__all__ = ["MIXED", "SUITES", "Suite", "cases_of"]

#: The name of the suite that is no network.
MIXED = "mixed"


class Suite(NamedTuple):
    """Layers of a network in the order in which they first occur, and the batch that they are measured with.

    Attributes
    ----------
    layers : tuple of Layer
        None occurs twice.
    batch : int
        The batch unless the user chooses others.
    """

    layers: tuple[Layer, ...]
    batch: int = 1


def _distinct(layers: Iterator[Layer], batch: int = 1) -> Suite:
    return Suite(tuple(dict.fromkeys(layers)), batch)


def _resnet50() -> Iterator[Layer]:
    """Bottlenecks whose 3x3 has the stride, as everybody trains them now."""
    yield layer(3, 224, 64, (7, 7), stride=2)
    channels, extent = 64, 56
    for width in (64, 128, 256, 512):
        stride = 1 if width == 64 else 2
        yield layer(channels, extent, width, (1, 1))
        yield layer(width, extent, width, (3, 3), stride=stride)
        yield layer(channels, extent, 4 * width, (1, 1), stride=stride)
        channels, extent = 4 * width, extent // stride
        yield layer(width, extent, channels, (1, 1))
        yield layer(channels, extent, width, (1, 1))
        yield layer(width, extent, width, (3, 3))


def _vgg16() -> Iterator[Layer]:
    channels = 3
    for extent, width in ((224, 64), (112, 128), (56, 256), (28, 512), (14, 512)):
        yield layer(channels, extent, width, (3, 3))
        yield layer(width, extent, width, (3, 3))
        channels = width


def _mobilenetv2() -> Iterator[Layer]:
    """Expansion, depthwise convolution and projection, after the stem and before the head."""
    yield layer(3, 224, 32, (3, 3), stride=2)
    channels, extent = 32, 112
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for factor, outputs, blocks, first_stride in table:
        for stride in (first_stride, *(1,) * (blocks - 1)):
            inner = factor * channels
            if factor != 1:
                yield layer(channels, extent, inner, (1, 1))
            yield layer(inner, extent, inner, (3, 3), stride=stride, groups=inner)
            extent //= stride
            yield layer(inner, extent, outputs, (1, 1))
            channels = outputs
    yield layer(channels, extent, 1280, (1, 1))


def _unet() -> Iterator[Layer]:
    """Two convolutions at each depth, padded, of 256x256 pixels rather than 572x572."""
    channels = 1
    for depth in range(5):
        width, extent = 64 << depth, 256 >> depth
        yield layer(channels, extent, width, (3, 3))
        yield layer(width, extent, width, (3, 3))
        channels = width
    for depth in reversed(range(4)):
        width, extent = 64 << depth, 256 >> depth
        yield layer(2 * width, extent // 2, width, (2, 2), stride=2, transposed=True)
        yield layer(2 * width, extent, width, (3, 3))
    yield layer(64, 256, 2, (1, 1))


def _unet3d() -> Iterator[Layer]:
    """Two convolutions at each depth, padded, of 32x32x32 voxels."""
    cube = (3, 3, 3)
    channels = 3
    for depth in range(4):
        width, extent = 64 << depth, 32 >> depth
        yield layer(channels, extent, width // 2, cube)
        yield layer(width // 2, extent, width, cube)
        channels = width
    for depth in reversed(range(3)):
        width, extent = 64 << depth, 32 >> depth
        yield layer(2 * width, extent // 2, 2 * width, (2, 2, 2), stride=2, transposed=True)
        yield layer(3 * width, extent, width, cube)
        yield layer(width, extent, width, cube)
    yield layer(64, 32, 3, (1, 1, 1))


def _wavenet() -> Iterator[Layer]:
    """One second at 16 kHz: pairs of taps, whose left padding is part of the input, and what joins the layers."""
    samples = 16_000
    yield layer(256, samples + 1, 64, (2,), padding=0)
    for power in range(10):
        yield layer(64, samples + 2**power, 128, (2,), padding=0, dilation=2**power)
    yield layer(64, samples, 64, (1,))
    yield layer(64, samples, 256, (1,))
    yield layer(256, samples, 256, (1,))


def _lenet() -> Iterator[Layer]:
    yield layer(1, 28, 6, (5, 5))
    yield layer(6, 14, 16, (5, 5), padding=0)
    yield layer(16, 5, 120, (5, 5), padding=0)


def _inception() -> Iterator[Layer]:
    """Inception-v3: its stem, then the modules at 35x35, 17x17 and 8x8 with the reductions between them."""
    yield layer(3, 299, 32, (3, 3), stride=2, padding=0)
    yield layer(32, 149, 32, (3, 3), padding=0)
    yield layer(32, 147, 64, (3, 3))
    yield layer(64, 73, 80, (1, 1))
    yield layer(80, 73, 192, (3, 3), padding=0)
    for channels, pooled in ((192, 32), (256, 64), (288, 64)):
        yield from (layer(channels, 35, outputs, (1, 1)) for outputs in (64, 48, pooled))
    yield layer(48, 35, 64, (5, 5))
    yield layer(64, 35, 96, (3, 3))
    yield layer(96, 35, 96, (3, 3))
    yield layer(288, 35, 384, (3, 3), stride=2, padding=0)
    yield layer(96, 35, 96, (3, 3), stride=2, padding=0)
    for width in (128, 160, 192):
        yield from (layer(768, 17, outputs, (1, 1)) for outputs in (192, width))
        for window in ((1, 7), (7, 1)):
            yield from (layer(width, 17, outputs, window) for outputs in (width, 192))
    yield layer(192, 17, 320, (3, 3), stride=2, padding=0)
    yield layer(192, 17, 192, (3, 3), stride=2, padding=0)
    for channels in (1280, 2048):
        yield from (layer(channels, 8, outputs, (1, 1)) for outputs in (320, 384, 448, 192))
    yield from (layer(384, 8, 384, window) for window in ((1, 3), (3, 1)))
    yield layer(448, 8, 384, (3, 3))


def _mixed() -> Iterator[Layer]:
    """One layer of each kind, for a run of a minute: those of the other suites, and dilated and grouped ones."""
    yield from (layer(channels, 3584 // channels, channels, (3, 3)) for channels in (64, 128, 256, 512))
    yield layer(128, 112, 128, (3, 3))
    yield layer(64, 56, 256, (1, 1))
    yield layer(1024, 14, 256, (1, 1))
    yield layer(128, 56, 128, (3, 3), stride=2)
    yield layer(3, 224, 64, (7, 7), stride=2)
    yield layer(256, 33, 256, (3, 3), dilation=2)
    yield layer(96, 112, 96, (3, 3), groups=96)
    yield layer(144, 56, 144, (3, 3), stride=2, groups=144)
    yield layer(256, 56, 256, (3, 3), groups=32)


#: The networks, and a mixture of their layers, by the names that the command takes; ``all`` stands for the networks.
SUITES: dict[str, Suite] = {
    "resnet50": _distinct(_resnet50()),
    "vgg16": _distinct(_vgg16()),
    "mobilenetv2": _distinct(_mobilenetv2()),
    "unet": _distinct(_unet()),
    "inception": _distinct(_inception()),
    "wavenet": _distinct(_wavenet()),
    "unet3d": _distinct(_unet3d()),
    "lenet": _distinct(_lenet(), batch=64),
    MIXED: _distinct(_mixed()),
}


def cases_of(
    suites: Sequence[str], directions: Sequence[str], batches: Sequence[int], dtypes: Sequence[str]
) -> list[Case]:
    """Return every pass over every layer of these suites; without batches, each suite has its own.

    Examples
    --------
    >>> [case.title for case in cases_of(["lenet"], ["fwd"], [], ["float32"])][0]
    '5x5: 1x28x28 to 6, batch 64, float32, fwd'
    """
    return [
        Case(name, this, batch, dtype, direction)
        for name in suites
        for dtype in dtypes
        for batch in batches or (SUITES[name].batch,)
        for this in SUITES[name].layers
        for direction in directions
    ]
