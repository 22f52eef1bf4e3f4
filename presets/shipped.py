"""The presets that come with the program, as recipes; `cymatic presets build-library` makes `library/*.json` of them.

Three banks: `calm` for what lies, `storm` for what rages, `pulse` for music with a beat, whose maps let bass, drums and
hi-hats move the picture. Each names every control of the look, so that it looks the same whatever played before; only
`sound/gain`, which the performer has set for the room's microphone, and `seed`, which draws another land beneath any
preset, stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.reactivity import Feature
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
    noise: float = 1.0,
) -> dict[str, float]:
    coarse, mid, fine = gains
    return {
        "sound/weight": sound, "text/weight": text, "reactivity": react, "truncation": wild, "speed": speed,
        "gain/coarse": coarse, "gain/mid": mid, "gain/fine": fine, "smoothing": smooth, "noise": noise,
    }  # fmt: skip


def _map(
    feature: Feature, control: str, amount: float, attack_s: float = 0.0, release_s: float = 0.2, curve: float = 1.0
) -> Mapping[str, Any]:
    return {
        "feature": feature, "control": control, "amount": amount, "attack_s": attack_s, "release_s": release_s,
        "curve": curve,
    }  # fmt: skip


LIBRARY: tuple[Recipe, ...] = (
    Recipe(
        "open-sky", "Nothing but the sound: a calm land that becomes what is heard",
        (), 7, _look(sound=1.0, text=1.0, react=0.5, wild=1.0, speed=1.0, gains=(1.0, 1.0, 1.0), smooth=0.3),
        3.0, "calm",
    ),
    Recipe(
        "still-lake", "A mirror at dawn that sound can only ripple: for silence and last notes",
        (("a smooth mirror lake, at dawn, mist, a calm landscape", 0.9),),
        1597, _look(sound=0.25, text=1.0, react=0.15, wild=0.75, speed=0.3, gains=(0.2, 0.4, 0.8), smooth=0.85),
        10.0, "calm",
    ),
    Recipe(
        "golden-tide", "Waves rolling in at sunset, in no hurry",
        (("ocean waves, surf, at sunset, in golden light", 1.0), ("warm colors", 0.3)),
        987, _look(sound=0.55, text=0.9, react=0.45, wild=0.95, speed=0.8, gains=(0.5, 0.9, 1.1), smooth=0.55),
        6.0, "calm",
        (_map("level", "speed", 0.1, 0.5, 2.0),),
    ),
    Recipe(
        "deep-water", "Slow and blue, far below the surface; sound lets bubbles rise",
        (("diving underwater, slow bubbles rising, in the deep, cold colors", 1.0), ("deep underwater", 0.4)),
        34, _look(sound=0.45, text=1.0, react=0.25, wild=0.85, speed=0.5, gains=(0.4, 0.8, 0.9), smooth=0.75),
        8.0, "calm",
    ),
    Recipe(
        "gorge", "A waterfall between steep mountains, by day",
        (("a roaring waterfall in a narrow gorge, steep mountains, by day", 1.0),),
        144, _look(sound=0.5, text=1.0, react=0.6, wild=1.0, speed=1.2, gains=(0.5, 1.0, 1.0), smooth=0.3),
        4.0, "calm",
    ),
    Recipe(
        "pine-mist", "A pine forest at dawn in thin mist; high sounds let light in",
        (("tall pines, woods, at dawn, thin mist, a peaceful landscape", 1.0),),
        2584, _look(sound=0.35, text=1.0, react=0.2, wild=0.8, speed=0.4, gains=(0.3, 0.6, 0.9), smooth=0.7),
        8.0, "calm",
        (_map("centroid", "truncation", 0.15, 0.5, 2.0),),
    ),
    Recipe(
        "coral-light", "A reef in clear bright water, colourful and slow",
        (("a coral reef, clear water, underwater, bright, by day", 1.0), ("rich saturated colors", 0.4)),
        4181, _look(sound=0.4, text=1.0, react=0.3, wild=1.0, speed=0.6, gains=(0.4, 0.8, 1.2), smooth=0.6),
        6.0, "calm",
        (_map("treble", "gain/fine", 0.3, 0.05, 0.8),),
    ),
    Recipe(
        "moon-marsh", "A marsh in moonlight, almost still: for a voice alone",
        (("a quiet marsh, mud and ripples, in moonlight, starry sky", 1.0), ("cold dim colors", 0.3)),
        6765, _look(sound=0.3, text=1.0, react=0.15, wild=0.8, speed=0.3, gains=(0.2, 0.5, 0.9), smooth=0.8),
        10.0, "calm",
        (_map("mid", "gain/fine", 0.25, 0.1, 1.0),),
    ),
    Recipe(
        "storm-front", "Black clouds that wait for the next hit to flash",
        (("a violent storm, thunder and lightning, with heavy clouds, at dusk", 1.0), ("strong wind", 0.2)),
        6, _look(sound=0.6, text=0.9, react=1.0, wild=1.15, speed=1.6, gains=(0.7, 1.2, 1.5), smooth=0.1),
        2.0, "storm",
        (_map("onset", "truncation", 0.2), _map("bass", "gain/coarse", 0.2, 0.02, 0.5, 2.0)),
    ),
    Recipe(
        "monsoon", "Rain over green hills, from a veil to a wall of water",
        (("torrential rain, a downpour, rolling green hills, mist", 1.0),),
        89, _look(sound=0.6, text=0.9, react=0.5, wild=0.95, speed=1.4, gains=(0.6, 1.0, 1.2), smooth=0.4),
        5.0, "storm",
    ),
    Recipe(
        "white-wind", "A pale bare plain in a gale, almost without colour",
        (("a strong howling gale, bare ground, hazy air", 0.9), ("pale and gray, almost colorless", 0.5)),
        233, _look(sound=0.5, text=1.0, react=0.35, wild=0.8, speed=2.6, gains=(0.6, 0.7, 0.8), smooth=0.6),
        6.0, "storm",
    ),
    Recipe(
        "eruption", "A volcano that the drums set off",
        (("a violent volcano eruption, glowing lava, with a tall plume, at night", 1.1), ("warm colors", 0.2)),
        610, _look(sound=0.7, text=0.9, react=1.0, wild=1.25, speed=1.8, gains=(0.8, 1.4, 1.6), smooth=0.1),
        1.5, "storm",
        (_map("bass", "truncation", 0.15, 0.0, 0.25, 2.0),),
    ),
    Recipe(
        "fever", "Nothing but the sound, too much of it: far from average, fast and jumpy",
        (), 1313, _look(sound=1.0, text=1.0, react=1.0, wild=1.4, speed=2.2, gains=(1.3, 1.5, 1.8), smooth=0.05),
        1.0, "storm",
    ),
    Recipe(
        "inferno", "A whole forest on fire under smoke",
        (("a raging wildfire, inferno, tall flames and sparks, woods, smoke", 1.1), ("warm saturated tones", 0.3)),
        10946, _look(sound=0.7, text=1.0, react=0.9, wild=1.2, speed=1.8, gains=(0.6, 1.3, 1.6), smooth=0.15),
        2.0, "storm",
        (_map("level", "speed", 0.2, 0.1, 0.6),),
    ),
    Recipe(
        "black-sea", "Breakers of a raging sea at night, foam in the moonlight",
        (("a raging ocean, huge breakers crashing, surf, in a storm, at night", 1.1), ("dark cold colors", 0.3)),
        17711, _look(sound=0.65, text=1.0, react=0.8, wild=1.15, speed=1.7, gains=(0.7, 1.2, 1.3), smooth=0.2),
        2.5, "storm",
        (_map("bass", "gain/coarse", 0.25, 0.05, 0.6, 2.0),),
    ),
    Recipe(
        "hurricane", "Trees bent by a gale, dust and torn clouds",
        (("a violent hurricane, windstorm, trees bending, cloudy, haze", 1.0),),
        28657, _look(sound=0.6, text=1.0, react=0.7, wild=1.1, speed=3.0, gains=(0.6, 1.1, 1.3), smooth=0.2, noise=1.6),
        2.0, "storm",
        (_map("treble", "speed", 0.25, 0.05, 0.5),),
    ),
    Recipe(
        "ember", "A campfire at night; sound fans the flames",
        (("a campfire, glowing embers, flames and sparks, at night", 1.0), ("warm colors", 0.3)),
        21, _look(sound=0.5, text=1.0, react=0.8, wild=0.9, speed=0.8, gains=(0.4, 1.1, 1.4), smooth=0.35),
        4.0, "pulse",
        (_map("treble", "speed", 0.2, 0.01, 0.3), _map("onset", "gain/fine", 0.3)),
    ),
    Recipe(
        "mudlands", "A swamp at dusk, thick and slow; bass makes it heave",
        (("a churning swamp, thick mud squelching, at dusk, mist", 1.0),),
        377, _look(sound=0.6, text=1.0, react=0.7, wild=1.05, speed=0.35, gains=(0.6, 1.3, 1.2), smooth=0.5),
        5.0, "pulse",
        (_map("bass", "gain/mid", 0.35, 0.02, 0.35, 2.0), _map("bass", "speed", 0.15, 0.05, 0.5)),
    ),
    Recipe(
        "kick-crater", "Every kick drum sets the volcano off",
        (("an erupting volcano, crater, lava and ash, at dusk", 1.0), ("hot colors", 0.2)),
        46368, _look(sound=0.6, text=0.9, react=0.8, wild=1.0, speed=1.2, gains=(0.6, 1.1, 1.2), smooth=0.15),
        1.0, "pulse",
        (_map("bass", "truncation", 0.3, 0.0, 0.25, 3.0), _map("onset", "gain/fine", 0.4)),
    ),
    Recipe(
        "hat-rain", "Hi-hats are the rain, the bass is the ground under it",
        (("heavy rain, raindrops, puddle, green fields, cloudy", 1.0),),
        75025, _look(sound=0.55, text=0.9, react=0.5, wild=0.95, speed=0.8, gains=(0.5, 0.9, 0.9), smooth=0.25),
        1.5, "pulse",
        (_map("treble", "gain/fine", 0.5, 0.0, 0.15), _map("treble", "speed", 0.3, 0.01, 0.3),
         _map("bass", "gain/coarse", 0.25, 0.02, 0.4, 2.0)),
    ),
    Recipe(
        "beat-surf", "A wave on every beat, as long as there is one",
        (("ocean waves, surf, breakers on a beach, at sunrise", 1.0),),
        121393, _look(sound=0.5, text=1.0, react=0.4, wild=0.9, speed=0.6, gains=(0.4, 0.9, 1.1), smooth=0.3),
        2.0, "pulse",
        (_map("beat", "speed", 0.35, 0.0, 0.05, 2.0), _map("beat", "truncation", 0.12, 0.0, 0.05)),
    ),
    Recipe(
        "thunder-drum", "Night sky: the snare is the bolt, the kick the cloud",
        (("a thunderstorm, thunderbolt, heavy clouds, mountain peaks, at night", 1.0),),
        196418, _look(sound=0.6, text=0.9, react=0.9, wild=1.0, speed=1.0, gains=(0.6, 1.0, 1.2), smooth=0.1),
        1.0, "pulse",
        (_map("onset", "gain/mid", 0.4, 0.0, 0.1), _map("bass", "gain/coarse", 0.3, 0.0, 0.3, 2.0)),
    ),
    Recipe(
        "bass-reef", "Deep water that swells with the bass line",
        (("submerged, swarm of bubbles, in the deep ocean, blue", 1.0), ("vivid colors", 0.3)),
        317811, _look(sound=0.5, text=1.0, react=0.4, wild=0.95, speed=0.6, gains=(0.4, 0.9, 1.0), smooth=0.3),
        2.0, "pulse",
        (_map("bass", "gain/mid", 0.4, 0.02, 0.4, 2.0), _map("bass", "truncation", 0.12, 0.05, 0.5, 2.0)),
    ),
    Recipe(
        "bright-brook", "A brook that grows with how high the music plays",
        (("a brook splashing, rapids by rough ground and trees, sunny morning", 1.0),),
        514229, _look(sound=0.55, text=0.9, react=0.5, wild=0.9, speed=0.9, gains=(0.5, 1.0, 1.1), smooth=0.25),
        2.0, "pulse",
        (_map("centroid", "speed", 0.4, 0.1, 0.4, 1.5), _map("onset", "gain/fine", 0.3)),
    ),
)  # fmt: skip
