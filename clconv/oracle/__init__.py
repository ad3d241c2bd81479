"""What an implementation of clconv's operations is judged by: their definition, and how far it may be off.

`reference` computes every operation in float64 from its definition; `bounds` says how large the error of
a correct implementation can be. Nothing here imports the rest of clconv, so that a fault in the library
cannot hide in its judge.
"""

from . import bounds, reference

__all__ = ["bounds", "reference"]
