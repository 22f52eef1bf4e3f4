"""Words for the nine scenes that the caption grammar cannot say, though every word of them is in its vocabulary.

`training.world.captions` draws each caption from whole phrases. These sentences put its words together in other ways,
as a performer would. `phrases_of` proves it: none of them falls apart into phrases of the grammar.
"""

from __future__ import annotations

from functools import cache

from engine.bundle import split_words
from training.world import captions

WORDINGS: dict[str, tuple[str, ...]] = {
    "explosion": (
        "glowing magma rising in the crater",
        "hot ash falling from the volcanic plume",
        "a mountain exploding",
        "the crater erupting at nightfall",
        "dark smoke over an erupting mountain",
        "huge bomb blasts far away",
        "lava bursting from the ground",
        "a volcanic mountain throwing magma",
        "deep booming detonation",
        "red lava and ash in the evening air",
        "the erupting peaks",
        "an exploding mountain of ash",
    ),
    "fire": (
        "wood crackling in the hearth",
        "a warm campfire in the woods",
        "burning trees and embers",
        "the fireplace on a cold night",
        "tall flames in the forest",
        "sparks rising from the bonfire",
        "a candle flame in the dark",
        "the blaze of a wildfire",
        "fierce heat and high flames",
        "embers glowing softly",
        "a raging inferno of burning woods",
        "crackling wood and hot flames",
    ),
    "rain": (
        "drizzle falling softly on the fields",
        "raindrops on the pond",
        "torrential downpour in the afternoon",
        "heavy rainfall and grey clouds",
        "a wet and rainy evening",
        "pouring rain over the meadow",
        "a cold shower of rain",
        "steady drizzle by the lake",
        "massive downpour of raindrops",
        "a cloudburst over dark hills",
        "gentle rainfall in the woods",
        "raining over the forest",
    ),
    "splash": (
        "waves rolling on the beach",
        "the ocean crashing on the shore",
        "rough sea and heavy breakers",
        "soft waves lapping the coast",
        "a big splash in the sea",
        "the tide rising on the shore",
        "surf splashing on the coast",
        "huge ocean breakers",
        "small splashes of water on the beach",
        "a wild wave at the shore",
        "slow surf on a quiet beach",
        "the sea splashing",
    ),
    "mud": (
        "slippery clay and sludge",
        "squelching in the bog",
        "thick ooze in the marsh",
        "slow churning mud in a swamp",
        "wet ground of slime and dirt",
        "squishing clay",
        "a muddy marsh with quicksand",
        "soft sludge on the ground",
        "the swamp squelching",
        "heavy slime and wet dirt",
        "a bog of thick clay",
        "muddy puddle of ooze",
    ),
    "thunder": (
        "lightning over the mountains",
        "a bolt of lightning in the dark sky",
        "rumbling thunder in the evening",
        "the tempest with loud thunderbolt",
        "bright flash in a violent storm",
        "thunder rolling over the hills",
        "lightning strike near the forest",
        "distant lightning and faint rumbling thunder",
        "storm clouds and lightning",
        "loud thunder above the valley",
        "a heavy storm with bright lightning",
        "raging thunderstorm at midnight",
    ),
    "underwater": (
        "the diver in deep water",
        "bubbles in an aquarium",
        "coral and bubbles",
        "diving down in the reef",
        "slow bubbles rising in deep water",
        "submerged in clear blue water",
        "a swarm of rising bubbles",
        "under the surface of the water",
        "bubbling water in the deep",
        "a quiet dive over the coral reef",
        "many bubbles near the diver",
        "the underwater view",
    ),
    "waterfall": (
        "a river falling in the gorge",
        "rapids roaring down the mountain",
        "the brook trickling by",
        "a steep cascade of water",
        "a mountain creek in the valley",
        "mighty cataract",
        "water falling in a narrow gorge",
        "roaring rapids",
        "the stream burbling",
        "a high and wide waterfall",
        "the thin cascade of a brook",
        "massive waterfalls in a gorge",
    ),
    "wind": (
        "gusts bending the trees",
        "the gale blowing over open land",
        "a howling hurricane",
        "cold breeze in the grass",
        "windy open fields",
        "wild windstorm over the plain",
        "soft breeze blowing in the meadow",
        "strong gusts of air",
        "the noise of the wind",
        "heavy gale at dusk",
        "grass bending in a breeze",
        "a light wind from the hills",
    ),
}


@cache
def _phrases() -> frozenset[tuple[str, ...]]:
    """Everything that the grammar says in one piece."""
    pairs = [*captions.SHAPES.values(), captions.SKIES, captions.NIGHT_SKIES, *captions.OTHERS.values()]
    said = [phrase for strengths in captions.PHRASES.values() for phrases in strengths for phrase in phrases]
    said += [phrase for phrases in captions.LABELS.values() for phrase in phrases]
    said += [phrase for _, phrases in captions.HOURS for phrase in phrases]
    said += [phrase for pair in pairs for phrases in pair for phrase in phrases]
    said += [*captions.CALM, *captions.CALM_LABELS, *captions.PLACES, *captions.JOINTS]
    return frozenset(tuple(split_words(phrase)) for phrase in said)


def phrases_of(sentence: str) -> list[str] | None:
    """The phrases of the grammar that make up a sentence, or None where it cannot be put together from them."""
    words = tuple(split_words(sentence))
    ways: list[list[str] | None] = [[], *[None] * len(words)]
    for end in range(1, len(words) + 1):
        for start in range(end):
            before = ways[start]
            if before is not None and words[start:end] in _phrases():
                ways[end] = [*before, " ".join(words[start:end])]
                break
    return ways[-1]
