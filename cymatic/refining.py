"""Presets made by looking at what they paint: anchors in balance, and `--image` and `--refine` (extra `train`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import PresetError

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from presets.schema import Preset
    from training.refine import Refiner

__all__ = ["in_balance", "with_images"]

SEEN = 0.02  # a factor that is nearer to 1 is no news


def in_balance(preset: Preset, bundle: Bundle, say: Callable[[str], None]) -> Preset:
    """The preset with its anchors' offsets so strong that each shows and none hides another (`presets.balance`).

    `say` is told of each that is raised or gives way. Raises `PresetError`, one line.
    """
    from engine.offline import open_sessions
    from presets.balance import Sketch, balance
    from presets.compose import compose, pulls
    from presets.recipe import anchor
    from presets.text import Encoded

    pulled = pulls([one.weight for one in preset.anchors])
    if not any(pull > 0.0 for pull in pulled):
        return preset
    compose(preset, bundle, 0)  # raises for an anchor of another bundle
    offsets = [np.float32(one.offset) for one in preset.anchors]
    with open_sessions(bundle) as sessions:
        sketch = Sketch(bundle, sessions, preset.base.model_dump(mode="json"), preset.controls)
        factors = balance(sketch.paint, offsets, pulled).factors
    anchors = []
    for old, offset, factor in zip(preset.anchors, offsets, factors, strict=True):
        if abs(factor - 1.0) < SEEN:
            anchors.append(old)
            continue
        encoded = Encoded(np.float32(factor) * offset, np.float32(old.embedding), ())
        anchors.append(anchor(old.kind, old.source, old.weight, encoded, old.bundle))
        why = "would hide the rest" if factor < 1.0 else "would hardly show"
        say(f"{old.kind} {old.source!r} {why}: its pull is {factor:.2f} of what it was")
    return _with_anchors(preset, anchors)


def with_images(
    preset: Preset, bundle: Bundle, images: Sequence[tuple[Path, float]], refine: bool, say: Callable[[str], None],
    *, balanced: bool = False,
) -> Preset:  # fmt: skip
    """The preset with an anchor for each (picture, weight), and all of its anchors refined if `refine` says so, or in
    balance at least if `balanced` does.

    `say` is told how near the picture is to each anchor, before and after. Raises `PresetError`, one line.
    """
    from presets.compose import compose
    from presets.recipe import anchor
    from presets.text import Encoded

    if not images and not refine:
        return in_balance(preset, bundle, say) if balanced else preset
    base = preset.base.model_dump(mode="json")
    with _refiner(bundle) as refiner:
        from training.refine import Part, read_picture

        for path, weight in images:
            seen = refiner.see(base, read_picture(path))
            (part,) = seen.parts
            encoded = Encoded(part.offset, part.embedding, ())
            # The offset was found through the generator, so it is this one's.
            made = anchor("image", path.name, weight, encoded, bundle.manifest.graph("generator").sha256)
            preset = _with_anchors(preset, (*preset.anchors, made))
            say(f"image {path.name}: {seen.before[0]:.2f} like it before, {seen.after[0]:.2f} after")
        compose(preset, bundle, 0)  # raises for an anchor of another bundle
        if refine:
            parts = [Part(a.weight, np.float32(a.embedding), np.float32(a.offset)) for a in preset.anchors]
            found = refiner.refine(base, parts, preset.controls)
            anchors = [
                anchor(old.kind, old.source, old.weight, Encoded(part.offset, part.embedding, ()), old.bundle)
                for old, part in zip(preset.anchors, found.parts, strict=True)
            ]
            preset = _with_anchors(preset, anchors)
            for old, before, after in zip(anchors, found.before, found.after, strict=True):
                say(f"{old.kind} {old.source!r}: {before:.2f} like it before, {after:.2f} after")
            return preset
    return in_balance(preset, bundle, say) if balanced else preset


def _with_anchors(preset: Preset, anchors: Sequence[object]) -> Preset:
    """The same with other anchors, checked again."""
    from pydantic import ValidationError

    from presets.schema import Preset, describe

    stated = {name: getattr(preset, name) for name in preset.model_fields_set}
    try:
        return Preset(**{**stated, "anchors": tuple(anchors)})
    except ValidationError as error:
        raise PresetError(f"preset {preset.name!r} cannot be made: {describe(error)}") from None


@contextlib.contextmanager
def _refiner(bundle: Bundle) -> Iterator[Refiner]:
    from engine.offline import open_sessions
    from engine.runtime.session import open_graph
    from presets.text import text_encoder

    try:
        from training.refine import Refiner
    except ImportError as error:
        raise PresetError(f"--refine and --image need {error.name}: pip install 'cymatic[train]'") from None
    with contextlib.ExitStack() as opened:
        words = opened.enter_context(contextlib.closing(open_graph(bundle, "text", "onnxruntime", threads=1)))
        sessions = opened.enter_context(open_sessions(bundle))
        yield Refiner(bundle, sessions, text_encoder(words, bundle.manifest.text))
