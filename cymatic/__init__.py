"""The program: the command line with one file a subcommand, and the stage process that holds a show together."""

from __future__ import annotations

__version__ = "0.1.0"
