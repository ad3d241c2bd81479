"""``clconv bench``: convolutions measured beside what others do and beside what the device can do.

``suites``, ``scale`` and ``scan`` say what is measured, ``calls`` and ``peers`` who is, ``ceilings`` what can be had at
most; ``measure`` takes the times, ``rows`` checks the results, ``report`` and ``picture`` show it all.
docs/benchmarks.md says why it is done this way.
"""
