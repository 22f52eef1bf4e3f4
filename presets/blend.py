"""Two presets into one that lies between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.control.registry import CONTROLS
from engine.errors import PresetError
from presets.schema import MAX_ANCHORS, MAX_MAPS, Anchor, Base, Preset, Seed, SoundMap, Vector, as_array, latent
from presets.text import Session

__all__ = ["Place", "blend", "seed_place"]

Place = Callable[[int], NDArray[np.float32]]
"""A seed → the calm landscape that a bundle draws of it, `[L, D]`."""


def seed_place(session: Session, z_dim: int) -> Place:
    """How a bundle draws landscapes, given its open `mapping` graph: as `engine.painter.Painter` does in a show."""

    def place(seed: int) -> NDArray[np.float32]:
        z = np.random.default_rng(seed).standard_normal((1, z_dim), np.float32)
        return np.array(session.run({"z": z})["w"][0], np.float32)

    return place


def blend(first: Preset, second: Preset, share: float, name: str, place: Place) -> Preset:
    """The preset `name`, `share` (0..1) of the way from the first to the second; at 0 and 1 it is the one or the other.

    Base, controls, maps and times lie in between; anchors of both keep a part of their weight (`_parts`). A control
    that only one of them names stays as that one has it. Raises `PresetError` when they have different layouts, or more
    anchors or maps together than a preset can hold.
    """
    if share in (0.0, 1.0):
        return (first if share == 0.0 else second).model_copy(update={"name": name})
    if not 0.0 < share < 1.0:
        raise PresetError(f"a blend lies between 0 and 1 of the way, not at {share:g}")
    anchors = _anchors(first, second, share)
    maps = _maps(first, second, share)
    for what, found, most in (("anchors", anchors, MAX_ANCHORS), ("maps", maps, MAX_MAPS)):
        if len(found) > most:
            raise PresetError(f"{first.name} and {second.name} have {len(found)} {what} together, {most} are the most")
    stated: dict[str, Any] = {}
    if "fade_s" in first.model_fields_set & second.model_fields_set:
        stated["fade_s"] = _between(first.fade_s, second.fade_s, share)
    return Preset(
        name=name,
        description=f"{100 * (1 - share):.0f} % {first.name}, {100 * share:.0f} % {second.name}",
        bank=first.bank if first.bank == second.bank else "",
        base=_base(first, second, share, place),
        controls=_controls(first, second, share),
        maps=tuple(maps),
        anchors=tuple(anchors),
        **stated,
    )


def _between(start: float, end: float, share: float) -> float:
    return start + share * (end - start)


def _base(first: Preset, second: Preset, share: float, place: Place) -> Base:
    if first.base == second.base:
        return first.base
    start, end = (
        place(base.seed) if isinstance(base, Seed) else as_array(base.w_plus) for base in (first.base, second.base)
    )
    if start.shape != end.shape:
        raise PresetError(f"{first.name} and {second.name} were made for bundles of different layouts")
    return Vector(w_plus=latent(start + np.float32(share) * (end - start)))


def _controls(first: Preset, second: Preset, share: float) -> dict[str, float | str]:
    blended = {**first.controls, **second.controls}
    for name in first.controls.keys() & second.controls.keys():
        start, end = first.controls[name], second.controls[name]
        if isinstance(start, str) or isinstance(end, str):  # a choice has no in-between
            blended[name] = end if share >= 0.5 else start
            continue
        value = _between(start, end, share)
        step = CONTROLS[name].step
        blended[name] = round(value / step) * step if step else value
    return blended


def _anchors(first: Preset, second: Preset, share: float) -> list[Anchor]:
    blended: list[Anchor] = []
    for preset, part in zip((first, second), _parts(share), strict=True):
        for anchor in preset.anchors:
            anchor = anchor.model_copy(update={"weight": part * anchor.weight})
            for index, known in enumerate(blended):
                if known.model_copy(update={"weight": anchor.weight}) == anchor:
                    blended[index] = known.model_copy(update={"weight": known.weight + anchor.weight})
                    break
            else:
                blended.append(anchor)
    return blended


def _parts(share: float) -> tuple[float, float]:
    """Of the anchors' weights: 1 together, and such that, read as shares (`presets.compose.pulls`), those of the second
    preset pull evenly more until half way, and from there those of the first evenly less. Parts of 1 − share and share
    would keep half of the second's pull for the last third of the way to the middle."""
    first, second = min(1.0, 2.0 * (1.0 - share)), min(1.0, 2.0 * share)
    return first / (first + second), second / (first + second)


def _maps(first: Preset, second: Preset, share: float) -> list[SoundMap]:
    blended: dict[SoundMap, float] = {}
    for preset, part in ((first, 1.0 - share), (second, share)):
        for map in preset.maps:
            key = map.model_copy(update={"amount": 0.0})
            blended[key] = blended.get(key, 0.0) + part * map.amount
    return [map.model_copy(update={"amount": min(max(amount, -1.0), 1.0)}) for map, amount in blended.items()]
