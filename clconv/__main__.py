"""``python -m clconv``, the same as ``clconv``."""

from __future__ import annotations

import sys

from clconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
