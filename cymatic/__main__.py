"""`python -m cymatic`, the same as `cymatic`."""

from __future__ import annotations

import sys

from cymatic.cli import main

if __name__ == "__main__":
    sys.exit(main())
