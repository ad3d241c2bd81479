"""Threads of tests."""

from __future__ import annotations

import threading

import clconv

__all__ = ["results_by_threads", "run_in_threads"]


def results_by_threads(call, counts=(1, 2, 5)):
    """Return what a function returns with each number of threads of the native device, which then is as it was."""
    before, results = clconv.get_num_threads(), []
    try:
        for count in counts:
            clconv.set_num_threads(count)
            results.append(call())
    finally:
        clconv.set_num_threads(before)
    return results


def run_in_threads(work, arguments):
    """Call a function in one thread for each tuple of arguments, and return when all have ended.

    What a thread raises is a warning of pytest's, which is an error here.
    """
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
