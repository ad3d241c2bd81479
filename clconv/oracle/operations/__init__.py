"""Every operation that the checker knows, by the name that it has in `reference`."""

from __future__ import annotations

from ._base import Operation
from .activation import ACTIVATIONS
from .blocks import BLOCK_OPERATIONS
from .conv import CONVOLUTIONS
from .cross_entropy import CROSS_ENTROPIES
from .deform import DEFORMABLE
from .dropout import DROPOUTS
from .epilogue import FINISHED
from .epilogue_backward import EpilogueBackward
from .grid_sample import GRID_SAMPLERS
from .linear import LINEAR
from .norm import NORMS
from .pool import POOLS
from .rearrange import REARRANGEMENTS
from .resample import RESAMPLERS
from .softmax import SOFTMAXES

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for family in (
        CONVOLUTIONS,
        BLOCK_OPERATIONS,
        DEFORMABLE,
        POOLS,
        NORMS,
        RESAMPLERS,
        REARRANGEMENTS,
        GRID_SAMPLERS,
        ACTIVATIONS,
        LINEAR,
        SOFTMAXES,
        CROSS_ENTROPIES,
        DROPOUTS,
        FINISHED,
        (EpilogueBackward(),),
    )
    for operation in family
}
