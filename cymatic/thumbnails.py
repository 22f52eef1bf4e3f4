"""Small pictures of presets for their pads, painted by the bundle itself in silence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import PresetError

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from presets.schema import Preset

QUALITY = 64  # of the JPEG: two kilobytes a picture
SECONDS, FPS, RATE = 1.5, 10.0, 32_000
"""How long a preset settles before its picture is taken."""
CALLS = 1313  # seed of the soft noise that a preset without words is shown by


def paint_all(folder: Path | None, names: Sequence[str], bundle: Bundle, say: Callable[[str], None]) -> None:
    """Paint the presets of these names in a folder, None for the user's own; no name means all. `PresetError`."""
    from presets.store import PresetStore, user_folder

    folder = user_folder() if folder is None else folder
    store = PresetStore([folder])
    for path in paint_thumbnails([store.load(name) for name in names or store.names()], folder, bundle):
        say(f"wrote {path}")


def paint_thumbnails(presets: Sequence[Preset], folder: Path, bundle: Bundle) -> Iterator[Path]:
    """Paint each preset and write its picture under `folder`; yields the paths. `PresetError` for what cannot be."""
    from cymatic.words import TEXT_RUNTIME
    from engine.offline import open_sessions, paint
    from engine.runtime.session import open_graph
    from presets.compose import compose, needs_encoder
    from presets.text import text_encoder
    from presets.thumbnails import place

    with contextlib.ExitStack() as opened:
        sessions = opened.enter_context(open_sessions(bundle, threads=1))
        encode = None
        if any(needs_encoder(preset, bundle) for preset in presets):
            session = opened.enter_context(contextlib.closing(open_graph(bundle, "text", TEXT_RUNTIME, threads=1)))
            encode = text_encoder(session, bundle.manifest.text)
        for preset in presets:
            told: Mapping[str, Any] = compose(preset, bundle, serial=0, encode=encode)
            frames = paint(_sound(preset), RATE, bundle, sessions, told, controls=preset.controls, fps=FPS)
            image: NDArray[np.uint8] | None = None
            for painted in frames:
                image = painted.image
            assert image is not None
            path = place(folder, preset.name)
            write_thumbnail(image, path)
            yield path


def write_thumbnail(image: NDArray[np.uint8], path: Path) -> None:
    """Write a picture, uint8 RGBA `[H, W, 4]`, small: cut to 16:9 about its middle."""
    from PySide6.QtCore import QBuffer, QIODevice, Qt
    from PySide6.QtGui import QImage

    from engine.files import replace_file
    from presets.thumbnails import HEIGHT, WIDTH

    height, width = image.shape[:2]
    picture = QImage(np.ascontiguousarray(image).data, width, height, 4 * width, QImage.Format.Format_RGBX8888)
    expand, smooth = Qt.AspectRatioMode.KeepAspectRatioByExpanding, Qt.TransformationMode.SmoothTransformation
    small = picture.scaled(WIDTH, HEIGHT, expand, smooth)
    small = small.copy((small.width() - WIDTH) // 2, (small.height() - HEIGHT) // 2, WIDTH, HEIGHT)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not small.save(buffer, "JPG", QUALITY):
        raise PresetError(f"cannot write {path}: this Qt cannot write JPEG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, bytes(buffer.data().data()))
    except OSError as error:
        raise PresetError(f"cannot write {path}: {error.strerror or error}") from None


def _sound(preset: Preset) -> NDArray[np.float32]:
    """Silence for what words describe; a soft noise where there are none, since it is all such a preset shows."""
    length = round(SECONDS * RATE)
    if preset.anchors:
        return np.zeros(length, np.float32)
    return (0.05 * np.random.default_rng(CALLS).standard_normal(length)).astype(np.float32)
