"""The held-out wordings: known words, none of which the grammar puts together so."""

from __future__ import annotations

import torch

from engine.bundle import split_words
from training.evaluation.wordings import WORDINGS, phrases_of
from training.world import captions, factors


def test_there_are_twelve_for_each_scene_and_none_twice():
    assert tuple(WORDINGS) == factors.SCENES
    everything = [wording for wordings in WORDINGS.values() for wording in wordings]
    assert [len(wordings) for wordings in WORDINGS.values()] == [12] * 9
    assert len(set(everything)) == len(everything)


def test_every_word_is_known_and_no_wording_can_be_said_by_the_grammar():
    for wordings in WORDINGS.values():
        for wording in wordings:
            tokens, unknown = captions.encode(wording)
            assert unknown == [], wording
            assert phrases_of(wording) is None, wording
            assert 0 in tokens, f"{wording!r} is longer than a caption"


def test_whatever_the_grammar_says_falls_apart_into_its_phrases():
    draws = torch.Generator().manual_seed(5)
    for vector in factors.draw(200, draws):
        said = captions.caption(vector, draws)
        assert phrases_of(said) is not None, said


def test_no_caption_in_loose_order_happens_to_be_a_wording():
    known = {tuple(split_words(wording)) for wordings in WORDINGS.values() for wording in wordings}
    draws = torch.Generator().manual_seed(6)
    for vector in factors.draw(5000, draws):
        assert tuple(split_words(captions.loose(vector, draws))) not in known
