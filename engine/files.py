"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new empty file in the same folder, to be written by name; in the end it takes the place of `path`.

    A reader, or a power cut, finds the old file or the new one, never half of one. When the block raises, the old file
    stays and the new one is gone. The folder must be there. OSError when nothing can be written there.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private; ours are there to be shared
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` under this name, as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
