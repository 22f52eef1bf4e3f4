"""The presets that come with the program, as recipes; `cymatic presets build-library` makes `library/*.json` of them.

Each names every control of the look, so that it looks the same whatever played before; only `sound/gain` stays with the
performer, who has set it for the room's microphone.
"""

from __future__ import annotations

from presets.recipe import Recipe


def _look(
    *,
    sound: float,
    text: float,
    react: float,
    wild: float,
    speed: float,
    gains: tuple[float, float, float],
    smooth: float,
) -> dict[str, float]:
    coarse, mid, fine = gains
    return {
        "sound/weight": sound, "text/weight": text, "reactivity": react, "truncation": wild, "speed": speed,
        "gain/coarse": coarse, "gain/mid": mid, "gain/fine": fine, "smoothing": smooth,
    }  # fmt: skip


LIBRARY: tuple[Recipe, ...] = (
    Recipe(
        "open-sky", "Nothing but the sound: a calm land that becomes what is heard",
        (), 7, _look(sound=1.0, text=1.0, react=0.5, wild=1.0, speed=1.0, gains=(1.0, 1.0, 1.0), smooth=0.3), 3.0,
    ),
    Recipe(
        "fever", "Nothing but the sound, too much of it: far from average, fast and jumpy",
        (), 1313, _look(sound=1.0, text=1.0, react=1.0, wild=1.4, speed=2.2, gains=(1.3, 1.5, 1.8), smooth=0.05), 1.0,
    ),
    Recipe(
        "ember", "A campfire at night; sound fans the flames",
        (("a campfire, glowing embers, flames and sparks, at night", 1.0), ("warm colors", 0.3)),
        21, _look(sound=0.5, text=1.0, react=0.8, wild=0.9, speed=0.8, gains=(0.4, 1.1, 1.4), smooth=0.35), 4.0,
    ),
    Recipe(
        "deep-water", "Slow and blue, far below the surface; sound lets bubbles rise",
        (("diving underwater, slow bubbles rising, in the deep, cold colors", 1.0),),
        34, _look(sound=0.45, text=1.0, react=0.25, wild=0.85, speed=0.5, gains=(0.4, 0.8, 0.9), smooth=0.75), 8.0,
    ),
    Recipe(
        "storm-front", "Black clouds that wait for the next hit to flash",
        (("a violent storm, thunder and lightning, with heavy clouds, at dusk", 1.0), ("strong wind", 0.2)),
        6, _look(sound=0.6, text=0.9, react=1.0, wild=1.15, speed=1.6, gains=(0.7, 1.2, 1.5), smooth=0.1), 2.0,
    ),
    Recipe(
        "monsoon", "Rain over green hills, from a veil to a wall of water",
        (("torrential rain, a downpour, rolling green hills, mist", 1.0),),
        89, _look(sound=0.6, text=0.9, react=0.5, wild=0.95, speed=1.4, gains=(0.6, 1.0, 1.2), smooth=0.4), 5.0,
    ),
    Recipe(
        "gorge", "A waterfall between steep mountains, by day",
        (("a roaring waterfall in a narrow gorge, steep mountains, by day", 1.0),),
        144, _look(sound=0.5, text=1.0, react=0.6, wild=1.0, speed=1.2, gains=(0.5, 1.0, 1.0), smooth=0.3), 4.0,
    ),
    Recipe(
        "white-wind", "A pale bare plain in a gale, almost without colour",
        (("a strong howling gale, bare ground, hazy air", 0.9), ("pale and gray, almost colorless", 0.5)),
        233, _look(sound=0.5, text=1.0, react=0.35, wild=0.8, speed=2.6, gains=(0.6, 0.7, 0.8), smooth=0.6), 6.0,
    ),
    Recipe(
        "mudlands", "A swamp at dusk, thick and slow; bass makes it heave",
        (("a churning swamp, thick mud squelching, at dusk, mist", 1.0),),
        377, _look(sound=0.6, text=1.0, react=0.7, wild=1.05, speed=0.35, gains=(0.6, 1.3, 1.2), smooth=0.5), 5.0,
    ),
    Recipe(
        "eruption", "A volcano that the drums set off",
        (("a violent volcano eruption, glowing lava, with a tall plume, at night", 1.1), ("warm colors", 0.2)),
        610, _look(sound=0.7, text=0.9, react=1.0, wild=1.25, speed=1.8, gains=(0.8, 1.4, 1.6), smooth=0.1), 1.5,
    ),
    Recipe(
        "golden-tide", "Waves rolling in at sunset, in no hurry",
        (("ocean waves, surf, at sunset, in golden light", 1.0), ("warm colors", 0.3)),
        987, _look(sound=0.55, text=0.9, react=0.45, wild=0.95, speed=0.8, gains=(0.5, 0.9, 1.1), smooth=0.55), 6.0,
    ),
    Recipe(
        "still-lake", "A mirror at dawn that sound can only ripple: for silence and last notes",
        (("a smooth mirror lake, at dawn, mist, a calm landscape", 0.9),),
        1597, _look(sound=0.25, text=1.0, react=0.15, wild=0.75, speed=0.3, gains=(0.2, 0.4, 0.8), smooth=0.85), 10.0,
    ),
)  # fmt: skip
