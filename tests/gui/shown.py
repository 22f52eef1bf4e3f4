"""A show with a made-up stage in the real windows, in a process of its own, seen by screenshots."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from conftest import ROOT, Display, wait_until
from PIL import ImageGrab

HERE = Path(__file__).parent


class Show:
    """A child that shows the made-up stage."""

    def __init__(self, process: subprocess.Popen[str], display: Display, log: Path) -> None:
        self.process, self._display, self._log = process, display, log

    def screenshot(self) -> np.ndarray:
        """What stands on the display, float [H, W, 3]."""
        return np.asarray(ImageGrab.grab(xdisplay=self._display.name).convert("RGB"), float)

    def move(self, name: str, value: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {value}\n")
        self.process.stdin.flush()

    def wait_for(self, seen: Callable[[np.ndarray], object], what: str) -> np.ndarray:
        """The first screenshot of which `seen` is true."""
        shots = []

        def look() -> bool:
            assert self.process.poll() is None, self.log
            shots[:] = [self.screenshot()]
            return bool(seen(shots[0]))

        wait_until(look, 60, what)
        return shots[0]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def log(self) -> str:
        return self._log.read_text()


@contextlib.contextmanager
def shows(display: Display, folder: Path) -> Iterator[Callable[..., Show]]:
    """Gives what starts a show with these arguments on that display; all that were started end with the block.

    What is given by keyword joins the environment of the show.
    """
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **more: str) -> Show:
            log = folder / "log"
            env = {**os.environ, **display.env, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "PYTHONWARNINGS": "error"}
            env |= more
            process = subprocess.Popen(
                [sys.executable, str(HERE / "show_fake_stage.py"), *arguments],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                stderr=stack.enter_context(log.open("w")),
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Show(process, display, log)

        yield start
