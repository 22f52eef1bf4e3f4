"""What the world is called: sentences from the same factors, short labels, and the vocabulary of both.

The grammar is data: phrases by scene and strength, by place, hour and weather. `WORDS` is gathered from them, so that
the text encoder knows every word that a caption can hold and no other. A word that names a scene names only that one.
A caption says only what is seen: ambient factors are spoken of when they stand out, and never more than fits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.bundle import split_words
from training.world.factors import SCENES, factor

LENGTH = 16  # tokens of a caption; longer ones are cut
PAD, UNKNOWN, FIRST_WORD = 0, 1, 2
STRAY = 0.3  # of the captions in no order that name their one scene twice

# Scene → (faint, middle, strong). Every phrase stands alone.
PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "explosion": (
        (
            "a smoking volcano",
            "a small eruption",
            "a faint explosion",
            "a distant rumbling volcano",
            "a dull boom",
            "smoke and ash from a crater",
        ),
        (
            "a volcano erupting",
            "an explosion",
            "an eruption of lava",
            "exploding lava",
            "volcanic blasts",
            "a bomb",
            "a volcano throwing ash",
        ),
        (
            "a violent volcano eruption",
            "a huge explosion",
            "a massive blast",
            "magma bursting out of a volcano",
            "booming explosions and glowing lava",
            "an enormous detonation",
        ),
    ),
    "fire": (
        (
            "a small fire",
            "glowing embers",
            "a dying campfire",
            "a faint fire crackling",
            "a little flame",
            "a hearth",
            "a candle",
            "a few sparks",
            "a fire burning softly",
        ),
        (
            "a fire crackling",
            "a campfire",
            "burning wood",
            "flames",
            "a burning bonfire",
            "a fireplace",
            "a hot fire",
            "flames and sparks",
            "something burning",
        ),
        (
            "a roaring fire",
            "a huge blaze",
            "high flames burning",
            "a wild inferno",
            "a fierce crackling bonfire",
            "a raging wildfire",
            "a fire burning wildly",
            "the heat of a blaze",
        ),
    ),
    "rain": (
        ("light rain", "a drizzle", "a few raindrops", "gentle rain falling", "a faint drizzle", "raining softly"),
        ("rain", "raining", "steady rain", "a rain shower", "rainfall", "raindrops falling", "a rainy landscape"),
        (
            "heavy rain",
            "a downpour",
            "pouring rain",
            "a strong rain shower",
            "torrential rain",
            "a massive cloudburst",
            "raining heavily",
        ),
    ),
    "splash": (
        (
            "small waves",
            "a gentle sea",
            "water lapping",
            "little splashes",
            "soft surf",
            "a slow ocean",
            "a small splash",
            "a slow tide",
            "a quiet shore",
        ),
        (
            "splashing water",
            "waves",
            "water splashing",
            "the sea",
            "surf",
            "ocean waves",
            "a splash",
            "the beach",
            "a wave on the shore",
            "the coast",
        ),
        (
            "big waves crashing",
            "a wild sea",
            "heavy surf",
            "huge splashes of water",
            "a rough ocean",
            "breakers crashing",
            "a huge wave",
        ),
    ),
    "mud": (
        ("wet mud", "a little mud", "a quiet swamp", "soft mud", "a small bog", "slow ooze", "a puddle of dirt"),
        ("squishing mud", "mud", "squelching mud", "a muddy swamp", "sludge", "a marsh", "a muddy bog", "wet clay"),
        (
            "thick mud squelching",
            "heavy mud squishing",
            "slippery mud",
            "a churning swamp",
            "thick slime and mud",
            "quicksand",
        ),
    ),
    "thunder": (
        ("distant thunder", "faint thunder", "a far storm", "weak lightning", "a thunderstorm far away"),
        (
            "thunder",
            "lightning",
            "a storm",
            "a thunderstorm",
            "thunder and lightning",
            "a lightning bolt",
            "a flash of lightning",
        ),
        (
            "loud thunder",
            "a violent storm",
            "a heavy thunderstorm",
            "bright lightning and loud thunder",
            "a huge lightning strike",
            "a raging tempest",
            "a thunderbolt",
        ),
    ),
    "underwater": (
        (
            "a few bubbles underwater",
            "quiet underwater",
            "slow bubbles",
            "a bubble rising slowly",
            "a gentle dive",
            "an aquarium",
        ),
        (
            "underwater bubbling",
            "bubbles",
            "underwater",
            "bubbles rising",
            "diving underwater",
            "a coral reef",
            "submerged",
            "a diver",
        ),
        ("dense underwater bubbles", "many bubbles rising", "strong bubbling underwater", "a swarm of bubbles"),
    ),
    "waterfall": (
        (
            "a small waterfall",
            "a thin cascade",
            "a gentle waterfall",
            "a little stream",
            "a trickling brook",
            "a creek",
        ),
        ("a waterfall", "a waterfall burbling", "a cascade", "waterfalls", "a river falling", "a mountain stream"),
        (
            "a roaring waterfall",
            "a huge waterfall",
            "a mighty cascade",
            "a wide roaring cataract",
            "massive rapids of a river",
        ),
    ),
    "wind": (
        ("a light breeze", "gentle wind", "a soft breeze", "a faint wind blowing", "wind blowing gently"),
        ("wind", "wind blowing", "a windy landscape", "wind noise", "gusts of wind", "howling wind", "a breeze"),
        (
            "strong wind",
            "a gale",
            "a hurricane",
            "wild gusts",
            "a strong howling gale",
            "trees bending in heavy wind",
            "a windstorm",
        ),
    ),
}
LABELS: dict[str, tuple[str, ...]] = {
    "explosion": ("volcano explosion", "explosion", "volcano", "eruption", "lava", "blast"),
    "fire": ("fire crackling", "fire", "flames", "campfire", "blaze", "burning"),
    "rain": ("raining", "rain", "rainfall", "downpour", "drizzle"),
    "splash": ("splashing water", "waves", "sea", "ocean", "splash", "surf"),
    "mud": ("squishing mud", "mud", "swamp", "squelching mud"),
    "thunder": ("thunder", "thunderstorm", "lightning", "storm"),
    "underwater": ("underwater bubbling", "underwater", "bubbles", "diving"),
    "waterfall": ("waterfall burbling", "waterfall", "cascade", "river"),
    "wind": ("wind noise", "wind", "breeze", "gale", "windy"),
}
CALM = (
    "a calm landscape",
    "a quiet landscape",
    "a still view",
    "silence",
    "a peaceful place",
    "a calm scene",
    "calm",
    "a quiet valley",
    "nothing but land and sky",
    "peace and quiet",
)
CALM_LABELS = ("calm landscape", "silence", "quiet", "calm")

# Scenes whose event stands at `event_x`, and how its place is said: left, middle, right.
PLACED = ("explosion", "fire", "splash", "thunder", "waterfall")
PLACES = ("on the left", "in the middle", "on the right")

# (scene, placement factor) → phrases when it is low and when it is high.
SHAPES: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("explosion", "reach"): (("with a small plume",), ("with a tall plume", "with smoke reaching high")),
    ("fire", "reach"): (("with low flames",), ("with tall flames",)),
    ("waterfall", "reach"): (("in a narrow gorge",), ("falling broad and full",)),
    ("thunder", "depth"): (("close by", "near"), ("far away", "in the distance")),
    ("underwater", "reach"): (("with few bubbles",), ("full of bubbles",)),
    ("underwater", "depth"): (("near the surface",), ("in the deep", "deep down")),
}

# Ambient factor → phrases when it is low and when it is high.
HOURS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.17, ("at night", "in the dead of night", "at midnight", "in the dark", "under the stars", "in moonlight")),
    (0.34, ("at dusk", "at dawn", "at twilight", "in the late evening", "at nightfall")),
    (0.62, ("at sunset", "at sunrise", "in golden light", "in the evening", "at golden hour")),
    (0.80, ("in the morning", "in the afternoon", "in daylight", "by day")),
    (1.01, ("at noon", "at midday", "in bright sun", "on a bright day", "in full daylight")),
)
SKIES = (
    ("under a clear sky", "with a cloudless sky", "clear and sunny"),
    ("under a cloudy sky", "with heavy clouds", "under an overcast sky", "cloudy and grey"),
)
NIGHT_SKIES = (("under a clear starry sky", "with a cloudless night sky"), SKIES[1])
OTHERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mood": (("cold colors", "a cold blue mood", "in cool tones"), ("warm colors", "a warm red mood", "in warm tones")),
    "saturation": (
        ("pale and gray", "in faded colors", "almost colorless"),
        ("vivid and colorful", "in rich colours", "saturated colors"),
    ),
    "ridge": (("flat land", "low mountains"), ("high mountains behind", "tall peaks", "steep mountains")),
    "hills": (("flat ground", "a wide plain"), ("high hills", "rolling green hills", "steep hills")),
    "trees": (("no trees", "bare ground", "open country"), ("many trees", "a dense forest", "tall pines", "woods")),
    "water": (("a meadow", "green grass", "fields"), ("a lake", "beside a lake", "a wide pond")),
    "haze": (
        ("clear air", "crisp and sharp"),
        ("mist", "a misty day", "thick fog", "foggy and dim", "haze", "hazy air"),
    ),
    "swell": (("a smooth mirror lake",), ("a choppy lake", "ripples on the lake")),
    "horizon": (("a high horizon", "seen from above"), ("a low horizon", "a wide open sky")),
    "sun_x": (("sun on the left",), ("sun on the right",)),
}
HIDDEN = {"underwater": ("sun_x", "horizon", "ridge", "hills", "trees", "water", "swell", "haze")}
JOINTS = ("and", "with", "over")


def _grammar() -> list[str]:
    said = [phrase for strengths in PHRASES.values() for phrases in strengths for phrase in phrases]
    said += [phrase for phrases in LABELS.values() for phrase in phrases]
    said += [*CALM, *CALM_LABELS, *PLACES, *JOINTS]
    said += [phrase for pair in SHAPES.values() for phrases in pair for phrase in phrases]
    said += [phrase for _, phrases in HOURS for phrase in phrases]
    said += [phrase for pair in (SKIES, NIGHT_SKIES, *OTHERS.values()) for phrases in pair for phrase in phrases]
    return said


WORDS: tuple[str, ...] = tuple(sorted({word for phrase in _grammar() for word in split_words(phrase)}))
_TOKENS = {word: FIRST_WORD + i for i, word in enumerate(WORDS)}


def encode(text: str, length: int = LENGTH) -> tuple[list[int], list[str]]:
    """`length` tokens (0 pad, 1 unknown, i + 2 = `WORDS[i]`; longer text is cut) and the unknown words among them."""
    words = split_words(text)[:length]
    tokens = [_TOKENS.get(word, UNKNOWN) for word in words]
    return tokens + [PAD] * (length - len(words)), [word for word in words if word not in _TOKENS]


def _pick(choices: tuple[str, ...], generator: torch.Generator) -> str:
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]


def _chance(probability: float, generator: torch.Generator) -> bool:
    return float(torch.rand(1, generator=generator)) < probability


def label(scene: int | str, generator: torch.Generator | None = None) -> str:
    """A short prompt for a scene (its name, its index, or −1 for calm): the first one, or one drawn by `generator`."""
    name = scene if isinstance(scene, str) else (SCENES[scene] if scene >= 0 else "")
    choices = LABELS[name] if name else CALM_LABELS
    return choices[0] if generator is None else _pick(choices, generator)


def _event(factors: Tensor, name: str, generator: torch.Generator) -> str:
    intensity = float(factor(factors, name))
    phrase = _pick(PHRASES[name][0 if intensity < 0.4 else 1 if intensity < 0.72 else 2], generator)
    if name in PLACED and _chance(0.3, generator):
        return phrase + " " + PLACES[min(2, int(3 * float(factor(factors, "event_x"))))]
    for (scene, shape), pair in SHAPES.items():
        value = float(factor(factors, shape)) if scene == name else 0.5
        if not 0.25 < value < 0.75 and _chance(0.25, generator):
            return phrase + " " + _pick(pair[int(value > 0.5)], generator)
    return phrase


def _setting(factors: Tensor, scenes: list[str], generator: torch.Generator) -> list[str]:
    """Everything that stands out around the event, in random order, the hour more often than the rest."""
    hidden = {name for scene in scenes for name in HIDDEN.get(scene, ())}
    hour = float(factor(factors, "time_of_day"))
    clauses = []
    for name, pair in OTHERS.items():
        value = float(factor(factors, name))
        lake_only = name == "swell" and float(factor(factors, "water")) < 0.6
        if name in hidden or lake_only or (name == "sun_x" and hour < 0.3) or 0.25 < value < 0.75:
            continue
        if _chance(0.45, generator):
            clauses.append(_pick(pair[int(value > 0.5)], generator))
    cloud = float(factor(factors, "cloud_cover"))
    if not 0.3 < cloud < 0.7 and _chance(0.4, generator) and not {"underwater", "rain", "thunder"} & set(scenes):
        clauses.append(_pick((SKIES if hour > 0.34 else NIGHT_SKIES)[int(cloud > 0.5)], generator))
    order = torch.randperm(len(clauses), generator=generator).tolist()
    clauses = [clauses[i] for i in order]
    if _chance(0.65, generator):
        clauses.insert(0, _pick(next(phrases for limit, phrases in HOURS if hour < limit), generator))
    return clauses


def caption(factors: Tensor, generator: torch.Generator) -> str:
    """One sentence of at most `LENGTH` words about still factors `[COUNT]`; two scenes are both named."""
    strengths = {name: float(factor(factors, name)) for name in SCENES}
    scenes = sorted((name for name in SCENES if strengths[name] > 0.05), key=lambda name: -strengths[name])[:2]
    events = [_event(factors, name, generator) for name in scenes] or [_pick(CALM, generator)]
    text = f" {_pick(JOINTS[:2], generator)} ".join(events)
    for clause in _setting(factors, scenes, generator)[: int(torch.randint(4, (1,), generator=generator))]:
        if len(split_words(text)) + len(split_words(clause)) <= LENGTH:
            text += ", " + clause
    return text


def _own_words() -> dict[str, tuple[frozenset[str], ...]]:
    """For each scene and strength, the words that nothing but this scene is spoken of with."""
    phrases = {name: [*LABELS[name], *(phrase for part in PHRASES[name] for phrase in part)] for name in SCENES}
    said = {name: {word for phrase in phrases[name] for word in split_words(phrase)} for name in SCENES}
    around = [*CALM, *CALM_LABELS, *PLACES, *JOINTS, *(phrase for _, hours in HOURS for phrase in hours)]
    around += [phrase for pair in (SKIES, NIGHT_SKIES, *OTHERS.values()) for part in pair for phrase in part]
    common = {word for phrase in around for word in split_words(phrase)}
    own = {name: said[name] - common - set().union(*(said[o] for o in SCENES if o != name)) for name in SCENES}
    return {
        name: tuple(frozenset(own[name].intersection(split_words(" ".join(part)))) for part in PHRASES[name])
        for name in SCENES
    }


_OWN = _own_words()


def loose(factors: Tensor, generator: torch.Generator) -> str:
    """The words of a caption in no order, with words of several of its phrases: what is said, not how.

    Every scene that is there gives three or four words, two of them its own, at times one where the scene is alone.
    Beside two a stray word may stand, of a scene that is not there ("sparks rising", and nothing is under water).
    Whoever learns from these too understands sentences that the grammar cannot say.
    """
    strengths = {name: float(factor(factors, name)) for name in SCENES}
    scenes = sorted((name for name in SCENES if strengths[name] > 0.05), key=lambda name: -strengths[name])[:2]
    if not scenes:
        return caption(factors, generator)
    words: list[str] = []
    named = 2 if len(scenes) > 1 or _chance(0.7, generator) else 1
    for name in scenes:
        strength = 0 if strengths[name] < 0.4 else 1 if strengths[name] < 0.72 else 2
        words += [_pick(tuple(sorted(_OWN[name][strength])), generator) for _ in range(named)]
        said = split_words(" ".join(PHRASES[name][strength]))
        words += [_pick(tuple(said), generator) for _ in range(3 - named + int(_chance(0.6, generator)))]
    if len(scenes) == 1 and named == 2 and _chance(STRAY, generator):
        absent = _pick(tuple(name for name in SCENES if name not in scenes), generator)
        words.append(_pick(tuple(sorted(frozenset().union(*_OWN[absent]))), generator))
    for clause in _setting(factors, scenes, generator)[: int(torch.randint(3, (1,), generator=generator))]:
        words += split_words(clause)
    words = [words[i] for i in torch.randperm(len(words), generator=generator).tolist()]
    return " ".join(words[:LENGTH])
