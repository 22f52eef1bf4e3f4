"""Captions: every word known, scenes never confused, the setting named when it stands out."""

from __future__ import annotations

import pytest
import torch

from engine.bundle import split_words
from training.world.captions import LABELS, LENGTH, PHRASES, WORDS, caption, encode, label, loose
from training.world.factors import COUNT, INDEX, SCENES, draw

# Words that several scenes may use: articles, strengths, sizes.
COMMON = set(
    split_words(
        """a an and the of in on at by away few small little huge massive wild wide mighty big light heavy soft softly
        gentle gently strong faint weak distant far slow slowly quiet dull deep many dense high thin thick wet loud
        bright violent fierce raging roaring glowing rumbling falling landscape noise from out something with wildly
        heavily steady"""
    )
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(**factors: float) -> torch.Tensor:
    vector = torch.zeros(COUNT)
    for name, value in factors.items():
        vector[INDEX[name]] = value
    return vector


def words_of(scene: str) -> set[str]:
    said = [phrase for strength in PHRASES[scene] for phrase in strength] + list(LABELS[scene])
    return {word for phrase in said for word in split_words(phrase)}


def own_words(scene: str) -> set[str]:
    return words_of(scene) - COMMON


def words_of_no_other(scene: str) -> set[str]:
    return words_of(scene).difference(*(words_of(other) for other in SCENES if other != scene))


def test_vocabulary_is_sorted_and_of_a_size_worth_learning() -> None:
    assert list(WORDS) == sorted(set(WORDS))
    assert 200 <= len(WORDS) <= 340
    assert all(word == word.lower() and word.isalpha() for word in WORDS)
    everyday = split_words(
        "storm sea lake blaze embers downpour drizzle gale breeze volcano lava swamp ocean river cascade night "
        "dusk dawn sunny misty heavy gentle roaring"
    )
    assert set(everyday) <= set(WORDS)


def test_no_noun_names_two_scenes() -> None:
    for i, scene in enumerate(SCENES):
        for other in SCENES[i + 1 :]:
            assert not own_words(scene) & own_words(other), (scene, other)


def test_captions_fit_and_hold_no_unknown_word() -> None:
    generator = seeded()
    texts = [caption(vector, generator) for vector in draw(300, generator)]
    for text in texts:
        assert len(split_words(text)) <= LENGTH
        assert encode(text)[1] == []
    assert len(set(texts)) > 200


@pytest.mark.parametrize("scene", SCENES)
def test_caption_names_its_scene_and_only_its_own(scene: str) -> None:
    vector = still(**{scene: 0.6})
    others = set().union(*(own_words(other) for other in SCENES if other != scene))
    for seed in range(20):
        words = set(split_words(caption(vector, seeded(seed))))
        assert words & own_words(scene)
        assert not words & (others - own_words(scene) - {"trees", "mountain", "blue"})


def test_a_pair_names_both() -> None:
    for seed in range(10):
        words = set(split_words(caption(still(fire=0.6, rain=0.5), seeded(seed))))
        assert words & own_words("fire")
        assert words & own_words("rain")


def test_intensity_chooses_the_words() -> None:
    faint = {caption(still(rain=0.2), seeded(i)) for i in range(30)}
    full = {caption(still(rain=1.0), seeded(i)) for i in range(30)}
    assert not {text.split(",")[0] for text in faint} & {text.split(",")[0] for text in full}


def test_the_setting_is_told() -> None:
    night = " ".join(caption(still(rain=0.6, time_of_day=-3), seeded(i)) for i in range(30))
    noon = " ".join(caption(still(rain=0.6, time_of_day=3), seeded(i)) for i in range(30))
    assert {"night", "midnight"} & set(split_words(night))
    assert not {"night", "midnight", "stars"} & set(split_words(noon))
    assert {"noon", "midday"} & set(split_words(noon))
    wooded = " ".join(caption(still(trees=3), seeded(i)) for i in range(30))
    assert "trees" in split_words(wooded)


def test_label_is_short_and_the_first_one_is_the_data_sets_name() -> None:
    assert label("fire") == label(1) == "fire crackling"
    assert label(-1) == "calm landscape"
    drawn = {label("rain", seeded(i)) for i in range(40)}
    assert drawn == set(LABELS["rain"])


def test_encode() -> None:
    tokens, unknown = encode("Fire, crackling: ZEBRA!", 6)
    assert tokens == [2 + WORDS.index("fire"), 2 + WORDS.index("crackling"), 1, 0, 0, 0]
    assert unknown == ["zebra"]
    assert encode("") == ([0] * LENGTH, [])
    long, _ = encode("rain " * 40)
    assert long == [2 + WORDS.index("rain")] * LENGTH
    assert encode("\N{FIRE}fire\n\tRAIN…", 2) == ([2 + WORDS.index("fire"), 2 + WORDS.index("rain")], [])


def test_loose_captions_name_their_scene_and_at_times_one_stray_word_of_another() -> None:
    strayed, once, drawn = 0, 0, 0
    for name in SCENES:
        others = {word for other in SCENES if other != name for word in own_words(other)}
        for number, strength in enumerate((0.3, 0.6, 0.9) * 10):
            said = split_words(loose(still(**{name: strength}), seeded(number)))
            assert 3 <= len(said) <= LENGTH
            assert encode(" ".join(said))[1] == []
            named, strays = ([word for word in said if word in words] for words in (words_of_no_other(name), others))
            assert named, (name, said)
            assert len(strays) <= (1 if len(named) > 1 else 0), (name, said)
            strayed, once, drawn = strayed + len(strays), once + (len(named) == 1), drawn + 1
    assert 0.05 < strayed / drawn < 0.3
    assert 0.02 < once / drawn < 0.3


def test_loose_captions_of_two_scenes_name_both_twice() -> None:
    for number in range(40):
        said = split_words(loose(still(rain=0.5, fire=0.8), seeded(number)))
        for name in ("rain", "fire"):
            assert sum(word in words_of_no_other(name) for word in said) >= 2, said


def test_loose_captions_are_in_no_order_and_calm_land_is_spoken_of_in_sentences() -> None:
    storm = still(thunder=0.9, cloud_cover=2.0)
    assert len({loose(storm, seeded(number)) for number in range(40)}) > 35
    calm = loose(still(), seeded(1))
    assert calm == caption(still(), seeded(1))
