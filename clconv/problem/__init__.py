"""What an operation is to compute: the sizes of its arrays and everything that follows from them.

A problem is made once from shapes and arguments, validated while it is made, and then trusted. It is stored with three
spatial axes, the leading ones of extent 1, so that one kernel serves one, two and three dimensions; messages speak of
the user's own axes. Each kind of problem has a file; the algebra of a single axis is in ``window.py``.
"""

from clconv.problem.conv import ConvProblem
from clconv.problem.deform import DeformProblem
from clconv.problem.epilogue import EpilogueProblem
from clconv.problem.grid_sample import GridSampleProblem
from clconv.problem.norm import NormAxes, NormProblem
from clconv.problem.norm_response import ResponseProblem
from clconv.problem.pad import PadProblem
from clconv.problem.pool import AvgPoolProblem, LpPoolProblem, MaxPoolProblem, PoolProblem
from clconv.problem.pool_unpool import UnpoolProblem
from clconv.problem.resize import ResizeProblem
from clconv.problem.shuffle import ShuffleProblem
from clconv.problem.unfold import WindowProblem
from clconv.problem.window import ReceptiveField, Window, receptive_field

__all__ = [
    "AvgPoolProblem",
    "ConvProblem",
    "DeformProblem",
    "EpilogueProblem",
    "GridSampleProblem",
    "LpPoolProblem",
    "MaxPoolProblem",
    "NormAxes",
    "NormProblem",
    "PadProblem",
    "PoolProblem",
    "ReceptiveField",
    "ResizeProblem",
    "ResponseProblem",
    "ShuffleProblem",
    "UnpoolProblem",
    "Window",
    "WindowProblem",
    "receptive_field",
]
