"""From words to tokens, from a recipe to a preset, from a preset to what the engine is told."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from engine.bundle import TextSpec, load_bundle, shipped_bundles
from engine.bundle import find_bundle as find
from engine.control.registry import REGISTRY
from engine.errors import PresetError
from presets.compose import compose, needs_encoder, pulls
from presets.recipe import Recipe
from presets.schema import Anchor, Preset, Seed, Vector, latent
from presets.shipped import LIBRARY
from presets.store import PADS, SHIPPED, PresetStore
from presets.text import Encoded, text_encoder, tokenize

SPEC = TextSpec(words=("fire", "night", "rain"), length=4)
TEXT_HASH, ENCODER_HASH, OTHER_HASH = "a" * 64, "b" * 64, "c" * 64
LAYERS, DIM = 2, 3


def bundle(layers: int = LAYERS, dim: int = DIM) -> SimpleNamespace:
    graphs = {"text": SimpleNamespace(sha256=TEXT_HASH), "encoder": SimpleNamespace(sha256=ENCODER_HASH)}
    manifest = SimpleNamespace(name="tiny", latents=SimpleNamespace(layers=layers, dim=dim), graphs=graphs)
    return SimpleNamespace(manifest=manifest)


def encode(text: str) -> Encoded:
    """Every text pulls by its length, everywhere."""
    return Encoded(np.full((LAYERS, DIM), len(text), np.float32), np.float32([0.6, 0.8]), ())


def anchor(kind: str = "text", fill: float = 1.0, weight: float = 1.0, made_by: str = TEXT_HASH) -> Anchor:
    return Anchor(
        kind=kind,
        source="fire",
        weight=weight,
        embedding=(1.0,),
        offset=latent(np.full((LAYERS, DIM), fill)),
        bundle=made_by,
    )


def preset(*anchors: Anchor, base: Seed | Vector = Seed(seed=5)) -> Preset:  # noqa: B008 - frozen
    return Preset(name="ember", base=base, anchors=anchors, fade_s=4.0)


# ---- Words


def test_tokens_are_those_of_the_bundle_and_unknown_words_are_told():
    tokens = tokenize("Fire, ZEBRA-night!", SPEC)
    assert tokens.ids.dtype == np.int64
    assert tokens.ids.tolist() == [[2, 1, 3, 0]]
    assert tokens.unknown == ("zebra",)
    assert tokens.dropped == ()


def test_words_past_the_length_are_told():
    tokens = tokenize("rain rain rain rain fire zebra", SPEC)
    assert tokens.ids.tolist() == [[4, 4, 4, 4]]
    assert tokens.unknown == ()
    assert tokens.dropped == ("fire", "zebra")


@pytest.mark.parametrize("text", ["", "  ,.!", "zebra", "zebra zebra zebra zebra fire"])
def test_words_that_mean_nothing_to_the_bundle(text: str):
    with pytest.raises(PresetError, match="knows none of the words"):
        tokenize(text, SPEC)


def test_the_encoder_keeps_copies_of_what_belongs_to_the_session():
    class Session:
        delta, embedding = np.ones((1, LAYERS, DIM), np.float32), np.ones((1, 2), np.float32)

        def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            self.delta[:] = feeds["tokens"].sum()
            return {"delta": self.delta, "embedding": self.embedding}

    encoder = text_encoder(Session(), SPEC)
    first = encoder("fire zebra")
    second = encoder("rain")
    assert first.delta.shape == (LAYERS, DIM)
    assert (first.delta[0, 0], second.delta[0, 0]) == (3.0, 4.0)
    assert first.ignored == ("zebra",)


# ---- Recipes


def test_a_recipe_becomes_a_preset_with_its_words_embedded():
    recipe = Recipe("hot", "Warm", (("fire", 0.5), ("night", -0.25)), seed=9, controls={"speed": 2.0}, fade_s=1.0)
    made = recipe.build(encode, TEXT_HASH)
    assert (made.name, made.base, made.controls, made.fade_s) == ("hot", Seed(seed=9), {"speed": 2.0}, 1.0)
    assert [(a.source, a.weight, a.bundle, a.offset[0][0]) for a in made.anchors] == [
        ("fire", 0.5, TEXT_HASH, 4.0),
        ("night", -0.25, TEXT_HASH, 5.0),
    ]
    assert made.anchors[0].embedding == (0.6, 0.8)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe("../x"), "name: a preset's name"),
        (Recipe("x", seed=-1), "seed"),
        (Recipe("x", controls={"blackout": 1.0}), "no control of the picture's look"),
        (Recipe("x", texts=(("fire", 9.0),)), "weight"),
        (Recipe("x", texts=(("fire", float("nan")),)), "finite"),
    ],
)
def test_a_recipe_that_cannot_be(recipe: Recipe, words: str):
    with pytest.raises(PresetError) as refused:
        recipe.build(encode, TEXT_HASH)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


# ---- What the engine is told


def test_without_anchors_there_is_no_offset():
    told = compose(preset(), bundle(), serial=3)
    assert told == {"serial": 3, "name": "ember", "base": {"seed": 5}, "offset": None, "maps": [], "fade_s": 4.0}


def test_the_offset_is_the_weighted_sum():
    sound = anchor("sound", fill=10.0, weight=0.5, made_by=ENCODER_HASH)
    told = compose(preset(anchor(fill=1.0, weight=2.0), sound), bundle(), serial=1, fade_s=0.5)
    np.testing.assert_allclose(told["offset"], np.full((LAYERS, DIM), 2.0 * 1.0 + 0.5 * 10.0))
    assert told["fade_s"] == 0.5
    assert json.loads(json.dumps(told)) == told, "it crosses to the engine as JSON"


@pytest.mark.parametrize(
    ("weights", "pulled"),
    [
        ([0.5], [0.5]),  # alone: as it says
        ([0.5, 0.5], [1.0, 1.0]),
        ([0.6, -0.4], [1.0, -2 / 3]),
        ([0.2, 0.2], [0.4, 0.4]),
        ([1.0, 0.3], [1.0, 0.3]),
        ([1.1, 0.2], [1.1, 0.2]),
        ([2.0, 2.0], [2.0, 2.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([], []),
    ],
)
def test_weights_that_are_shares_pull_as_their_sum(weights: list[float], pulled: list[float]):
    assert pulls(weights) == pytest.approx(pulled)


def test_shares_reach_the_offset():
    halves = preset(anchor(fill=1.0, weight=0.5), anchor("sound", fill=10.0, weight=0.5, made_by=ENCODER_HASH))
    np.testing.assert_allclose(compose(halves, bundle(), serial=1)["offset"], np.full((LAYERS, DIM), 11.0))


def test_a_base_latent_goes_as_it_is():
    told = compose(preset(base=Vector(w_plus=latent(np.ones((LAYERS, DIM))))), bundle(), serial=1)
    assert told["base"] == {"w_plus": [[1.0] * DIM] * LAYERS}


def test_words_of_another_bundle_are_embedded_again():
    strange = preset(anchor(fill=1.0, weight=0.5, made_by=OTHER_HASH))
    assert needs_encoder(strange, bundle())
    told = compose(strange, bundle(), serial=1, encode=encode)
    np.testing.assert_allclose(told["offset"], np.full((LAYERS, DIM), 0.5 * len("fire")))
    assert not needs_encoder(preset(anchor()), bundle())


@pytest.mark.parametrize(
    ("strange", "encoder"),
    [
        (anchor("text", made_by=OTHER_HASH), None),
        (anchor("sound", made_by=OTHER_HASH), encode),
        (anchor("sound", made_by=TEXT_HASH), encode),
        (anchor("image", made_by=OTHER_HASH), encode),
    ],
)
def test_what_another_bundle_has_heard_or_seen_is_refused(strange: Anchor, encoder):
    with pytest.raises(PresetError, match=r"'ember': its \w+ 'fire' was made with another bundle than 'tiny'"):
        compose(preset(strange), bundle(), serial=1, encode=encoder)


def test_a_preset_of_another_layout_is_refused():
    with pytest.raises(PresetError, match=r"anchors\.0\.offset is \[2, 3\], not \[4, 3\]"):
        compose(preset(anchor()), bundle(layers=4), serial=1)
    with pytest.raises(PresetError, match=r"base\.w_plus is \[2, 3\], not \[2, 8\]"):
        compose(preset(base=Vector(w_plus=latent(np.ones((LAYERS, DIM))))), bundle(dim=8), serial=1)


# ---- The library


def test_the_library_is_large_and_its_presets_are_all_different():
    assert len(LIBRARY) >= 24
    banks = Counter(recipe.bank for recipe in LIBRARY)
    assert len(banks) == 3
    assert max(banks.values()) <= PADS
    for fields in ("name", "description", "seed"):
        assert len({getattr(recipe, fields) for recipe in LIBRARY}) == len(LIBRARY), fields
    looks = {(tuple(sorted(recipe.controls.items())), recipe.texts) for recipe in LIBRARY}
    assert len(looks) == len(LIBRARY)


@pytest.mark.parametrize("recipe", LIBRARY, ids=lambda recipe: recipe.name)
def test_a_shipped_preset_sets_the_whole_look_but_never_the_microphone(recipe: Recipe):
    made = recipe.build(encode, TEXT_HASH)
    look = {c.name for c in REGISTRY if c.kind == "float" and c.scope == "engine"} - {"sound/gain", "seed"}
    assert set(made.controls) == look
    assert made.description


@pytest.mark.parametrize("name", shipped_bundles())
def test_the_shipped_presets_fit_the_shipped_bundle(name: str):
    shipped = load_bundle(find(name))
    for recipe in LIBRARY:
        for text, _ in recipe.texts:
            tokens = tokenize(text, shipped.manifest.text)
            assert (tokens.unknown, tokens.dropped) == ((), ()), recipe.name


def test_the_shipped_files_are_those_of_the_recipes():
    store = PresetStore([SHIPPED])
    assert [problem for _, problem in store.check() if problem] == []
    if set(store.names()) != {recipe.name for recipe in LIBRARY}:
        pytest.skip("the library is built after training: cymatic presets build-library")
    for recipe in LIBRARY:
        stored = store.load(recipe.name)
        assert tuple((a.source, a.weight) for a in stored.anchors) == recipe.texts
        assert (stored.controls, stored.base, stored.fade_s) == (recipe.controls, Seed(seed=recipe.seed), recipe.fade_s)
        assert stored.bank == recipe.bank
        assert [map.model_dump() for map in stored.maps] == list(recipe.maps)
