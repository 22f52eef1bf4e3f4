"""A room made for a trial, on Linux: a private PulseAudio as the microphone, a private Xvfb as the display.

Neither needs a sound card, a screen, dbus or a user's session, and neither touches those that are there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from engine.errors import CymaticError

NAME = "vmic"
RATE = 48_000
SOUND_PROGRAMS = ("pulseaudio", "paplay", "parec")
START_S = 20.0
SETTLE_S = 2.2
"""An idle null sink works in blocks of two seconds; the last of them is over by then."""
AGAIN_S = 0.3
"""Between two attempts to begin a helper that ended."""
CLICK_S, CLICK_PEAK = 0.010, 0.7

_SINK = f"module-null-sink sink_name={NAME} rate={RATE} channels=2 format=s16le"


def missing(*programs: str) -> list[str]:
    """Those of the programs that are not installed."""
    return [name for name in programs if shutil.which(name) is None]


def private_home(folder: Path) -> dict[str, str]:
    """Environment of a show that leaves the user's presets, places of windows and sound settings alone, but knows what
    was measured on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    places = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    return {"HOME": str(folder), "XDG_CACHE_HOME": cache, **places}


class VirtualMicrophone:
    """A PulseAudio server of its own whose only sink, `vmic`, is heard as the microphone `vmic`. One thread.

    `folder` is its home and must exist. `env` is what a process needs to hear it. A keeper listens all the time, which
    holds the sink at a latency of some milliseconds. `CymaticError` when PulseAudio is missing or does not start.
    """

    def __init__(self, folder: Path) -> None:
        if lacking := missing(*SOUND_PROGRAMS):
            raise CymaticError(f"no virtual microphone without {', '.join(lacking)}: install pulseaudio")
        self._folder, self._run = folder, folder / "run"
        self._run.mkdir(mode=0o700)
        self.env = {
            **private_home(folder),
            "XDG_RUNTIME_DIR": str(self._run),
            "PULSE_SERVER": f"unix:{self._run}/pulse/native",
        }
        (folder / ".asoundrc").write_text(
            f'pcm.{NAME} {{ type pulse\n  device "{NAME}.monitor"\n'
            '  hint { show on description "Virtual microphone" } }\n'
            f'pcm.!default {{ type asym\n  capture.pcm {{ type pulse\n    device "{NAME}.monitor" }}\n'
            f'  playback.pcm {{ type pulse\n    device "{NAME}" }} }}\n'
        )
        (folder / "pulse.pa").write_text(
            "load-module module-native-protocol-unix\nload-module module-cli-protocol-unix\n"
            f"load-module {_SINK}\nset-default-sink {NAME}\nset-default-source {NAME}.monitor\n"
        )
        self._server: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._helpers: dict[str, subprocess.Popen[bytes]] = {}
        self._begun_at: dict[str, float] = {}
        self._sound: Path | None = None
        self._plugged, self._frozen = True, False

    def start(self) -> None:
        """Starts the server and waits until it delivers sound in short blocks."""
        self.start_server()
        deadline = time.monotonic() + START_S
        while not self._connected():
            if time.monotonic() > deadline or self._server is None or self._server.poll() is not None:
                raise CymaticError(f"the private PulseAudio does not start; its log is {self._folder / 'pulse.log'}")
            time.sleep(0.05)
        self.tend()
        time.sleep(SETTLE_S)

    def stop(self) -> None:
        """Ends everything. Safe to call twice."""
        self.thaw()
        for helper in self._helpers.values():
            _end(helper)
        self._helpers.clear()
        self.kill_server()

    def tend(self) -> None:
        """Begins keeper and player again when they have ended; call it often. Never waits."""
        if self._frozen or not self._plugged or not self._connected():
            return
        commands = {"keeper": ["parec", "--latency-msec=5", f"--device={NAME}.monitor"]}
        if self._sound is not None:
            commands["player"] = ["paplay", "--latency-msec=20", f"--device={NAME}", str(self._sound)]
        for name, command in commands.items():
            helper, now = self._helpers.get(name), time.monotonic()
            if (helper is None or helper.poll() is not None) and now - self._begun_at.get(name, 0.0) > AGAIN_S:
                self._begun_at[name] = now
                self._helpers[name] = _start(command, {**os.environ, **self.env})

    def play(self, path: Path | None) -> None:
        """Plays this file round and round from now on; None: nothing."""
        self._sound = path
        if (player := self._helpers.pop("player", None)) is not None:
            _end(player)
        self._begun_at.pop("player", None)
        self.tend()

    def prepare_click(self) -> None:
        """Hands the server a click of `CLICK_S`, white noise."""
        path = self._folder / "click.wav"
        sound = np.zeros(RATE // 10)
        length = round(CLICK_S * RATE)
        sound[:length] = np.random.default_rng(0).uniform(-CLICK_PEAK, CLICK_PEAK, length)
        soundfile.write(path, sound, RATE)
        self._ask(f"load-sample click {path}")

    def click(self) -> float:
        """Plays the click; the perf_counter time at which the server was told, which takes it half a millisecond."""
        told_at = time.perf_counter()
        self._ask(f"play-sample click {NAME}")
        return told_at

    # What can happen to a microphone

    def unplug(self) -> None:
        """Takes the microphone away."""
        self._plugged = False
        self._ask("unload-module module-null-sink")

    def plug(self) -> None:
        """Brings it back under the same name."""
        self._ask(f"load-module {_SINK}")
        self._ask(f"set-default-sink {NAME}")
        self._ask(f"set-default-source {NAME}.monitor")
        self._plugged = True

    def suspend(self, suspended: bool) -> None:
        """The server stops the device, or lets it go on."""
        self._ask(f"suspend-sink {NAME} {int(suspended)}")
        self._ask(f"suspend-source {NAME}.monitor {int(suspended)}")

    def start_server(self) -> None:
        """Starts the server; it is there when `tend` finds it."""
        env = {**os.environ, **self.env}
        del env["PULSE_SERVER"]  # a server must not look for another one
        command = ["pulseaudio", "-n", "-F", str(self._folder / "pulse.pa"), "--daemonize=no", "--exit-idle-time=-1"]
        command += ["--disable-shm=yes", "--realtime=no", f"--log-target=file:{self._folder / 'pulse.log'}"]
        self._server = _start(command, env)

    def kill_server(self) -> None:
        """Ends the server at once, as a crash would."""
        self._hang_up()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def freeze(self) -> None:
        """Stops the server's process in its tracks."""
        if self._server is not None:
            self._frozen = True
            self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        if self._server is not None and self._frozen:
            self._server.send_signal(signal.SIGCONT)
        self._frozen = False

    # The server's command line, by its socket: no process to start, so a command is there at once

    def _ask(self, command: str) -> None:
        if not self._connected():
            raise CymaticError("the private PulseAudio has gone")
        assert self._line is not None
        with contextlib.suppress(BlockingIOError):
            while self._line.recv(4096):
                pass
        with contextlib.suppress(OSError):  # it ended just now: who asked sees that the command had no effect
            self._line.send(command.encode() + b"\n")

    def _connected(self) -> bool:
        if self._line is None and self._server is not None:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(self._run / "pulse" / "cli"))
            except OSError:
                line.close()
                return False
            line.setblocking(False)
            self._line = line
        return self._line is not None

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class VirtualDisplay:
    """An Xvfb of its own, with OpenGL in software, whose pixels can be read without asking it. One thread.

    `folder` must exist; `env` is what a process needs to open windows there. `CymaticError` when Xvfb is missing or
    does not start.
    """

    def __init__(self, folder: Path, width: int = 1280, height: int = 720) -> None:
        if missing("Xvfb"):
            raise CymaticError("no virtual display without Xvfb: install xvfb")
        self._memory = folder / "Xvfb_screen0"
        read_end, write_end = os.pipe()
        command = ["Xvfb", "-displayfd", str(write_end), "-fbdir", str(folder), "-screen", "0", f"{width}x{height}x24"]
        command += ["-ac", "+extension", "GLX", "+render", "-noreset", "-nolisten", "tcp"]
        self._server = _start(command, dict(os.environ), (write_end,))
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        if not number.isdigit():
            self.stop()
            raise CymaticError("the private Xvfb does not start")
        self.env = {"DISPLAY": f":{number}", "LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"}
        self.pixels = self._open()
        """uint8 [height, width, 4], blue first: the display's own memory, as it is now."""

    def _open(self) -> NDArray[np.uint8]:
        """An X window dump in a file that the server maps; its header is 25 big-endian words, then a colour table."""
        header = np.fromfile(self._memory, ">u4", 25)
        size, width, height, stride, colours = (int(header[at]) for at in (0, 4, 5, 12, 19))
        raw = np.memmap(self._memory, np.uint8, "r", size + 12 * colours, (height, stride // 4, 4))
        return raw[:, :width]

    def stop(self) -> None:
        """Ends it. Safe to call twice."""
        _end(self._server)


def _start(command: list[str], env: dict[str, str], fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    # A session of its own, so that Ctrl-C in a terminal ends the trial and not the room under it.
    return subprocess.Popen(
        command, env=env, pass_fds=fds, stdin=null, stdout=null, stderr=null, start_new_session=True
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
