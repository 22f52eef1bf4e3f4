"""`cymatic render`: a sound file to a film, as long as it may be.

The pictures are those of `engine.offline.paint`; nothing about them hangs on how fast it goes, so the same command
writes the same file again. That is why the runtime is named and never chosen by a stopwatch, as `cymatic live` does.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cymatic.arguments import frame_rate, seconds
from engine.errors import CymaticError

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from engine.look import Look

RUNTIMES = ("openvino", "onnxruntime")
STOPPED = 130
"""Exit code after Ctrl-C, as a shell gives it."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Adds the subcommand to the command line."""
    parser = subparsers.add_parser(
        "render",
        help="paint a sound file into an MP4",
        description="Paint a sound file into an MP4 (H.264, AAC). Ctrl-C ends it and leaves no file.",
    )
    parser.add_argument("sound", type=Path, metavar="SOUND", help="WAV, FLAC, OGG or MP3 file")
    parser.add_argument("out", type=Path, metavar="OUT.mp4", help="the file to write")
    parser.add_argument("--preset", metavar="NAME", help="where the picture rests; `cymatic presets` lists them")
    parser.add_argument(
        "--bundle", default="landscape", metavar="NAME|PATH", help="trained bundle (default: landscape)"
    )
    parser.add_argument("--fps", type=frame_rate, default=30.0, metavar="F", help="frames a second (default: 30)")
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="another number, another take of the same sound (default: 0)"
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="only the first so many")
    parser.add_argument(
        "--runtime",
        default=RUNTIMES[0],
        choices=RUNTIMES,
        metavar="R",
        help=f"{' or '.join(RUNTIMES)} (default: first)",
    )
    parser.add_argument(
        "--exact", action="store_true", help="no 8-bit integers in the generator: slower, nothing that is seen"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Paint, write, print where the film is. Raises `CymaticError`, one line, for what cannot be read or written."""
    try:
        import av
        import tqdm  # noqa: F401
    except ImportError as error:
        raise CymaticError(f"rendering needs {error.name}: pip install 'cymatic[render]'") from None
    from engine.files import replacing

    if args.out.suffix.lower() != ".mp4":
        raise CymaticError(f"cannot write {args.out}: films are MP4, give a name that ends in .mp4")
    if args.out.is_dir():
        raise CymaticError(f"cannot write {args.out}: it is a folder")
    try:
        with _sigterm_is_ctrl_c(), replacing(args.out) as temporary:
            frames, seconds = _render(args, temporary)
    except KeyboardInterrupt:
        print("cymatic: stopped, nothing was written", file=sys.stderr)
        return STOPPED
    except (OSError, av.FFmpegError) as error:
        raise CymaticError(f"cannot write {args.out}: {error.strerror or error}") from None
    print(f"{args.out}: {frames} frames, {seconds:.1f} s")
    return 0


def _render(args: argparse.Namespace, path: Path) -> tuple[int, float]:
    """Write the whole film under this name; how many frames and seconds it has."""
    from tqdm import tqdm

    from cymatic.movie import Movie
    from engine.audio.sources import SoundFile
    from engine.bundle import find_bundle, load_bundle
    from engine.finish import Finish, Shown
    from engine.look import Look
    from engine.offline import frame_count, open_sessions, paint

    tqdm.monitor_interval = 0  # a thread to wake up slow bars
    sound = SoundFile(args.sound)
    bundle = load_bundle(find_bundle(args.bundle))
    preset, controls = _preset(args.preset, bundle)
    image, rate = bundle.manifest.image, sound.sample_rate
    channels = sound.channels if sound.channels <= 2 else 1
    total = frame_count(sound.seconds, args.fps, args.seconds)
    frames = 0
    with contextlib.ExitStack() as opened:
        sessions = opened.enter_context(open_sessions(bundle, args.runtime, exact=args.exact))
        movie = opened.enter_context(Movie(path, image.height, image.width, args.fps, rate, channels))
        behind = opened.enter_context(_Behind())
        bar = opened.enter_context(tqdm(total=total, unit="frame", disable=None))

        def heard() -> Iterator[NDArray[np.float32]]:
            """Mono for the painter; on its way the sound goes into the film."""
            for block in _first(sound.blocks(), args.seconds, rate):
                mono = block.mean(axis=1)
                behind.do(movie.sound, block if sound.channels <= 2 else mono[:, np.newaxis])
                yield mono

        finish, look, times = Finish(), Look.held_by(controls), itertools.count()

        def finished(look: Look, image: NDArray[np.uint8]) -> None:
            """On the thread behind: the picture as the audience of a show would see it."""
            movie.picture(finish.show(Shown(image, next(times) / args.fps, look=look)))

        for painted in paint(heard(), rate, bundle, sessions, preset, controls=controls, fps=args.fps, seed=args.seed):
            behind.do(partial(finished, look.moved(painted.look)), painted.image.copy())
            frames += 1
            bar.update()
        if not frames:
            raise CymaticError(f"nothing to render: {args.sound} ends before its first frame")
    return frames, frames / args.fps


class _Behind:
    """Does one thing after the other on a thread that stands back, so that a film is compressed while the next picture
    is painted and never in its way. At most `WAITING` things wait; what one of them raises, `do` or the end raises."""

    WAITING = 8

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "film", initializer=_stand_back)
        self._waiting: deque[Future[None]] = deque()

    def do(self, what: Callable[[NDArray[Any]], None], array: NDArray[Any]) -> None:
        self._waiting.append(self._thread.submit(what, array))
        if len(self._waiting) > self.WAITING:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        while kind is None and self._waiting:
            self._waiting.popleft().result()


def _stand_back() -> None:
    """Only what the painter leaves of the cores; where threads have no priority of their own, an equal share."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _preset(name: str | None, bundle: Bundle) -> tuple[Mapping[str, Any], Mapping[str, float | str]]:
    """What the painter is told of a preset, and the controls that it sets. None: the one that a show begins with."""
    from cymatic.calls import DEFAULT_PRESET
    from cymatic.words import TEXT_RUNTIME
    from engine.offline import CALM
    from engine.runtime.session import open_graph
    from presets.compose import compose, needs_encoder
    from presets.store import PresetStore
    from presets.text import text_encoder

    store = PresetStore.standard()
    if name is None and (bundle.manifest.text is None or DEFAULT_PRESET not in store.names()):
        return CALM, {}
    preset = store.load(DEFAULT_PRESET if name is None else name)
    if not needs_encoder(preset, bundle):
        return compose(preset, bundle, serial=0), preset.controls
    with contextlib.closing(open_graph(bundle, "text", TEXT_RUNTIME, threads=1)) as session:
        encode = text_encoder(session, bundle.manifest.text)
        return compose(preset, bundle, serial=0, encode=encode), preset.controls


def _first(
    blocks: Iterable[NDArray[np.float32]], seconds: float | None, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """The first `seconds` of a sound in blocks."""
    left = sys.maxsize if seconds is None else round(seconds * sample_rate)
    for block in blocks:
        if left < 1:
            return
        yield block[: min(len(block), left)]
        left -= len(block)


@contextlib.contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    """Whoever asks us to end leaves no half file either."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {2**32 - 1}")
    return value
