"""Threads of tests."""

from __future__ import annotations

import threading

__all__ = ["run_in_threads"]


def run_in_threads(work, arguments):
    """Call a function in one thread for each tuple of arguments, and return when all have ended.

    What a thread raises is a warning of pytest's, which is an error here.
    """
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
