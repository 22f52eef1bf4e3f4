"""From a preset to what the engine is told of it: the `preset` part of the control snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle
from engine.errors import PresetError
from presets.schema import Anchor, Preset, Vector, as_array
from presets.text import TextEncoder

# The graph that makes an anchor of each kind; an image's offset is found through the generator.
_GRAPHS = {"text": "text", "sound": "encoder", "image": "generator"}


def compose(
    preset: Preset, bundle: Bundle, serial: int, fade_s: float | None = None, encode: TextEncoder | None = None
) -> dict[str, Any]:
    """`{"serial", "name", "base", "offset", "maps", "fade_s"}` for the engine, plain JSON values.

    `offset` = Σ pullᵢ·offsetᵢ, `[L][D]`, or None without anchors; `pulls` makes the pulls of the weights. `fade_s` None
    takes the preset's own time.
    Words embedded by another bundle's text graph are embedded again by `encode`. Raises `PresetError`, one line, if
    the preset does not fit the bundle: another layout, or a sound or image that another bundle's graph has heard or
    seen.
    """
    shape = bundle.manifest.latents.layers, bundle.manifest.latents.dim
    if isinstance(preset.base, Vector):
        _check_shape(preset, "base.w_plus", as_array(preset.base.w_plus), shape)
    offset: NDArray[np.float32] | None = None
    strengths = pulls([anchor.weight for anchor in preset.anchors])
    for number, (anchor, strength) in enumerate(zip(preset.anchors, strengths, strict=True)):
        whole = _offset(preset, anchor, bundle, encode)
        _check_shape(preset, f"anchors.{number}.offset", whole, shape)
        pulled = np.float32(strength) * whole
        offset = pulled if offset is None else offset + pulled
    return {
        "serial": serial,
        "name": preset.name,
        "base": preset.base.model_dump(mode="json"),
        "offset": None if offset is None else offset.tolist(),
        "maps": [map.model_dump(mode="json") for map in preset.maps],
        "fade_s": preset.fade_s if fade_s is None else fade_s,
    }


def pulls(weights: Sequence[float]) -> list[float]:
    """How hard each anchor pulls: its weight, but of weights that are shares the greatest counts for their sum.

        pullᵢ = weightᵢ · max(1, min(1, Σ|weight|) / max|weight|)

    Half of one scene's offset and half of another's are two scenes that are hardly there, for what stands in a picture
    fades faster than its offset shortens. So 0.5 and 0.5 pull whole, 0.6 and 0.4 as 1 and 2/3; one anchor alone, or
    beside one of weight 1, pulls as its weight says.
    """
    sizes = [abs(weight) for weight in weights]
    most = max(sizes, default=0.0)
    raised = max(1.0, min(1.0, sum(sizes)) / most) if most else 1.0
    return [weight * raised for weight in weights]


def needs_encoder(preset: Preset, bundle: Bundle) -> bool:
    """True if some of the preset's words were embedded by another bundle, so that `compose` needs `encode`."""
    words = _graph_hash(bundle, "text")
    return words is not None and any(anchor.kind == "text" and anchor.bundle != words for anchor in preset.anchors)


def _offset(preset: Preset, anchor: Anchor, bundle: Bundle, encode: TextEncoder | None) -> NDArray[np.float32]:
    if anchor.bundle == _graph_hash(bundle, _GRAPHS[anchor.kind]):
        return as_array(anchor.offset)
    if anchor.kind == "text" and encode is not None:
        return encode(anchor.source).delta
    if anchor.kind == "text" and _graph_hash(bundle, "text") is None:
        raise PresetError(
            f"preset {preset.name!r}: the bundle {bundle.manifest.name!r} knows no words, not even {anchor.source!r}; "
            "choose a preset without words"
        )
    raise PresetError(
        f"preset {preset.name!r}: its {anchor.kind} {anchor.source!r} was made with another bundle than "
        f"{bundle.manifest.name!r}; make the preset again with this one"
    )


def _graph_hash(bundle: Bundle, graph: str) -> str | None:
    spec = bundle.manifest.graphs.get(graph)
    return spec.sha256 if spec else None


def _check_shape(preset: Preset, where: str, array: NDArray[np.float32], shape: tuple[int, int]) -> None:
    if array.shape != shape:
        raise PresetError(
            f"preset {preset.name!r} does not fit this bundle: {where} is {list(array.shape)}, not {list(shape)}"
        )
