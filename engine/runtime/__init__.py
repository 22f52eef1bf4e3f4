"""How graphs are run: one `Session` whatever runs it, and the choice of a runtime by measurement.

A runtime's package is imported when its first graph is opened, not before.
"""

from engine.runtime.choose import Choice, choose_runtime
from engine.runtime.session import (
    CPU_RUNTIMES,
    RUNTIMES,
    Precision,
    Runtime,
    Session,
    Tensors,
    open_graph,
    open_session,
    verify_session,
)

__all__ = [
    "CPU_RUNTIMES",
    "RUNTIMES",
    "Choice",
    "Precision",
    "Runtime",
    "Session",
    "Tensors",
    "choose_runtime",
    "open_graph",
    "open_session",
    "verify_session",
]
