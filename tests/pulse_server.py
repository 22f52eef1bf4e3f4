"""A private PulseAudio whose sink `vmic` is heard as the microphone `vmic`. It can be played to, and it can fail.

Needs no sound card, no dbus and no user session.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

PROGRAMS = ("pulseaudio", "pactl", "paplay", "parec")
ASOUNDRC = (
    'pcm.vmic { type pulse\n  device "vmic.monitor"\n  hint { show on description "Virtual microphone" } }\n'
    'pcm.!default { type pulse\n  device "vmic.monitor" }\n'
)
SINK = ("module-null-sink", "sink_name=vmic", "rate=48000", "channels=2", "format=s16le")
SCRIPT = (
    "load-module module-native-protocol-unix\n"
    f"load-module {' '.join(SINK)}\n"
    "set-default-sink vmic\nset-default-source vmic.monitor\n"
)
FIRST_BLOCKS_S = 2.2
"""An idle null sink works in blocks of two seconds; this waits one out."""


class PulseServer:
    """`start` it, `stop` it in the end. `env`: what a child needs to hear and play there; merge it into its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        run = home / "run"
        run.mkdir(mode=0o700)
        (home / ".asoundrc").write_text(ASOUNDRC)
        (home / "pulse.pa").write_text(SCRIPT)
        self.env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(run), "PULSE_SERVER": f"unix:{run}/pulse/native"}
        self._server: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server and a listener who keeps it awake. Returns when it answers."""
        env = {**os.environ, **self.env}
        del env["PULSE_SERVER"]  # a server must not look for another one
        command = ["pulseaudio", "-n", "-F", str(self._home / "pulse.pa"), "--daemonize=no", "--exit-idle-time=-1"]
        command += ["--disable-shm=yes", "--realtime=no", f"--log-target=file:{self._home}/pulse.log"]
        self._server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while self.pactl("info").returncode != 0:
            assert time.monotonic() < deadline, "the private PulseAudio does not answer"
            time.sleep(0.01)
        self.keep_awake()

    def keep_awake(self) -> None:
        """Puts a listener on the microphone, in place of one that a fault has ended."""
        _end(self._keeper)
        self._keeper = subprocess.Popen(
            ["parec", "--latency-msec=5", "--device=vmic.monitor"],
            env={**os.environ, **self.env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        _end(self._keeper)
        _end(self._server)
        self._keeper = self._server = None

    def kill(self) -> None:
        """As a crash would."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def freeze(self) -> None:
        """The server stops in the middle of what it does; `thaw` lets it go on."""
        assert self._server is not None
        psutil.Process(self._server.pid).suspend()

    def thaw(self) -> None:
        assert self._server is not None
        psutil.Process(self._server.pid).resume()

    def unplug(self) -> None:
        """Takes the microphone away."""
        self.unload("vmic")

    def unload(self, sink: str) -> None:
        """Takes an output away."""
        for line in self.pactl("list", "short", "modules").stdout.splitlines():
            if f"sink_name={sink} " in line + " ":
                self.pactl("unload-module", line.split()[0])

    def plug_in(self) -> None:
        """Brings the microphone back."""
        self.pactl("load-module", *SINK)

    @contextlib.contextmanager
    def play(self, path: Path, *arguments: str) -> Iterator[None]:
        """Plays a sound file into the microphone, in real time, until it ends or the block is left."""
        command = ["paplay", "--latency-msec=10", "--device=vmic", *arguments, str(path)]
        player = subprocess.Popen(command, env={**os.environ, **self.env}, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            _end(player)

    def pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Asks the server."""
        env = {**os.environ, **self.env}
        return subprocess.run(["pactl", *arguments], env=env, capture_output=True, text=True, timeout=20)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.terminate()
    process.send_signal(signal.SIGCONT)  # a frozen one ends no sooner
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
