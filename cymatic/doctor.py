"""`cymatic doctor`: what is here, what is missing, and the command that installs it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from engine.errors import CymaticError
from engine.packages import install
from engine.sinks import SINKS, missing

if TYPE_CHECKING:
    from engine.audio.devices import InputDevice

WINDOW_TRIAL_S = 20.0
WINDOW_TRIAL = """
from PySide6.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
app = QGuiApplication([])
surface, context = QOffscreenSurface(), QOpenGLContext()
surface.create()
assert context.create() and context.makeCurrent(surface), "no OpenGL context"
name = context.functions().glGetString(0x1F01)  # GL_RENDERER
screens = ", ".join(f"{s.name()} {s.size().width()}x{s.size().height()}" for s in app.screens())
print(f"{app.platformName()}; {screens}; {name}")
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. `state`: "ok", "missing" (an extra that nobody need have), "broken"."""

    part: str
    state: Literal["ok", "missing", "broken"]
    found: str
    advice: str = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="what is here, what is missing, how to install it",
        description="Look at sound, display, bundle, runtimes, presets, extras and the OSC port of this machine. "
        "Exits with 1 when something is broken that a show needs.",
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print a line for each finding; 1 when one is broken, else 0."""
    findings = list(examine())
    if args.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False) + "\n")
    else:
        width = max(len(finding.part) for finding in findings)
        for finding in findings:
            sys.stdout.write(f"{finding.state:<7}  {finding.part:<{width}}  {finding.found}\n")
            if finding.advice:
                sys.stdout.write(f"{'':<7}  {'':<{width}}  → {finding.advice}\n")
    return int(any(finding.state == "broken" for finding in findings))


def examine() -> Iterator[Finding]:
    """Look at everything, one finding after the other. Never raises: what fails is a finding."""
    yield Finding(
        "machine",
        "ok",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"cymatic {_version('cymatic') or 'not installed as a package'}",
    )
    yield from _sounds()
    for part, look in (
        ("window", _window),
        ("bundle", _bundle),
        ("runtimes", _runtimes),
        ("presets", _presets),
        ("osc port", _osc_port),
    ):
        yield _guarded(part, look)
    if sys.platform == "linux":
        yield _guarded("pactl", _pactl)
        yield _guarded("trials", _trials)
    yield from _extras()
    yield from _sinks()


def _guarded(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except CymaticError as error:
        return Finding(part, "broken", str(error))
    except Exception as error:  # noqa: BLE001 - a doctor that faints helps nobody
        return Finding(part, "broken", f"{type(error).__name__}: {error}")


def _sounds() -> Iterator[Finding]:
    """What can be heard, and whether that is also what this computer plays."""
    devices: list[InputDevice] = []

    def look() -> Finding:
        from engine.audio.deadline import answer
        from engine.audio.devices import input_devices

        devices.extend(answer(input_devices))
        return _sound([device for device in devices if not device.is_system])

    found = _guarded("sound", look)
    yield found
    if found.state != "broken":
        yield _guarded("system sound", lambda: _system_sound([device for device in devices if device.is_system]))


def _sound(devices: list[InputDevice]) -> Finding:
    if not devices:
        return Finding(
            "sound", "missing", "no input device", "plug in a microphone, or play `cymatic live --source demo`"
        )
    first = next((device for device in devices if device.is_default), devices[0])
    found = f"{len(devices)} inputs; {first.name} ({first.host_api}, {first.sample_rate} Hz)"
    others = list(dict.fromkeys(device.name for device in devices if device.name != first.name))
    if not others:
        return Finding("sound", "ok", found)
    return Finding("sound", "ok", f"{found}; also {', '.join(others)}", "cymatic live --device NAME takes another one")


def _system_sound(devices: list[InputDevice]) -> Finding:
    from engine.audio.loopback import advice

    if not devices:
        return Finding("system sound", "missing", "what this computer plays cannot be heard", advice())
    names = ", ".join(device.name for device in devices)
    return Finding("system sound", "ok", names, "cymatic live --device system hears what this computer plays")


def _pactl() -> Finding:
    if shutil.which("pactl"):
        return Finding("pactl", "ok", "a microphone that the sound server moves is noticed")
    unnoticed = "a microphone that the sound server moves to another device is not noticed"
    return Finding("pactl", "missing", unnoticed, install("pactl"))


def _trials() -> Finding:
    """Sound and display of their own, for `cymatic soak` and `cymatic latency --virtual`."""
    from cymatic.trial.room import SOUND_PROGRAMS

    without = [program for program in (*SOUND_PROGRAMS, "Xvfb") if shutil.which(program) is None]
    if not without:
        return Finding("trials", "ok", "soak and latency --virtual find all that they need")
    advice = install(*without) or "none here: PulseAudio's own server would take the place of PipeWire's"
    return Finding("trials", "missing", f"soak and latency --virtual lack {', '.join(without)}", advice)


def _window() -> Finding:
    """In a process of its own, since Qt aborts its process where it finds no display."""
    if _version("PySide6-Essentials") is None:
        return Finding("window", "broken", "PySide6 is not installed", "pip install PySide6-Essentials")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return Finding("window", "missing", "no display", "log in to a desktop, or play with --headless")
    try:
        trial = subprocess.run(
            [sys.executable, "-c", WINDOW_TRIAL], capture_output=True, text=True, timeout=WINDOW_TRIAL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("window", "broken", "the display does not answer", "log in to the desktop anew, or --headless")
    if not trial.returncode:
        return Finding("window", "ok", trial.stdout.strip())
    lines = trial.stderr.strip().splitlines() or [f"ended with {trial.returncode}"]
    found = next((line for line in lines if "xcb" in line), lines[-1])
    if "could not connect" in trial.stderr:
        return Finding("window", "broken", found, "log in to a desktop, or play with --headless")
    if sys.platform == "linux":
        return Finding("window", "broken", found, install("window"))
    return Finding("window", "broken", found, "pip install --force-reinstall PySide6-Essentials")


def _bundle() -> Finding:
    from engine.bundle import find_bundle, load_bundle, shipped_bundles

    names = shipped_bundles()
    if not names:
        return Finding("bundle", "broken", "no bundle is installed", "cymatic train makes one")
    manifest = load_bundle(find_bundle(names[0])).manifest
    image = f"{manifest.image.width}×{manifest.image.height}"
    return Finding("bundle", "ok", f"{', '.join(names)}; {names[0]} is whole and paints {image}")


def _runtimes() -> Finding:
    found = [f"{name} {version}" for name in ("openvino", "onnxruntime") if (version := _version(name))]
    if not found:
        return Finding("runtimes", "broken", "neither OpenVINO nor ONNX Runtime", "pip install openvino onnxruntime")
    return Finding("runtimes", "ok", ", ".join(found))


def _presets() -> Finding:
    from presets.store import PresetStore, user_folder

    names = PresetStore.standard().names()
    folder = user_folder()
    known = folder if folder.exists() else next(parent for parent in folder.parents if parent.exists())
    if not os.access(known, os.W_OK):
        return Finding("presets", "broken", f"{folder} cannot be written", f"make {known} yours to write")
    return Finding("presets", "ok", f"{len(names)} presets; your own go to {folder}")


def _osc_port() -> Finding:
    from engine.control.osc import DEFAULT_PORT

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            taken = f"port {DEFAULT_PORT} is taken, perhaps by another show"
            return Finding("osc port", "missing", taken, "end it, or choose another port with --osc-port")
    return Finding("osc port", "ok", f"{DEFAULT_PORT} is free")


def _extras() -> Iterator[Finding]:
    """Every extra that the package offers, but for that of its own tests."""
    try:
        metadata = importlib.metadata.metadata("cymatic")
        wanted = importlib.metadata.requires("cymatic") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for extra in metadata.get_all("Provides-Extra") or []:
        if extra == "test" or extra in SINKS:
            continue
        marker = re.compile(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]")
        names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in wanted if marker.search(line)]
        missing = [name for name in names if _version(name) is None]
        if missing:
            yield Finding(extra, "missing", f"without {', '.join(missing)}", f"pip install 'cymatic[{extra}]'")
        else:
            yield Finding(extra, "ok", ", ".join(f"{name} {_version(name)}" for name in names))


def _sinks() -> Iterator[Finding]:
    """Where the picture can go besides the windows. That a device or a receiver is there shows when a show begins."""
    for sink, library in SINKS.items():
        if library.platforms and sys.platform not in library.platforms:
            continue  # what another system has is not missing here
        why = missing(sink)
        if why is None:
            yield Finding(f"--share {sink}", "ok", f"{library.package} {_version(library.package)}")
        else:
            what, _, advice = why.partition(": ")
            yield Finding(f"--share {sink}", "missing", what, advice)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
