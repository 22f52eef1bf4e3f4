"""A sentence model reads for a bundle: what is learned, what is refused, and the whole way with a real, tiny model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from one_thread import one_thread  # noqa: F401
from tqdm import tqdm

from cymatic import cli
from engine.bundle import Bundle, find_bundle, load_bundle, split_words
from engine.errors import CheckpointRefused, CymaticError, PresetError
from engine.runtime import open_session
from presets.compose import compose
from presets.projection import Projection, ProjectionCard, projected, read_projection
from presets.store import PresetStore
from presets.text import tokenize
from training import sentences
from training.world import captions
from training.world.factors import SCENES

LIKE = {"bonfireparty": "campfire", "cloudbursting": "downpour", "blubbering": "bubbles"}
"""Words that the grammar lacks, and what they mean to the model below."""


@pytest.fixture(scope="module")
def landscape() -> Bundle:
    return load_bundle(find_bundle("landscape"))


@pytest.fixture(autouse=True)
def no_bar_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # its thread would outlive the test


def word_vectors(texts: Sequence[str]) -> np.ndarray:
    """A sentence model of few lines: the mean of random word vectors, those of `LIKE` near the words they are like."""

    def vector(word: str) -> np.ndarray:
        seed = int.from_bytes(LIKE.get(word, word).encode()[:7], "little")
        own = np.random.default_rng(int.from_bytes(word.encode()[:7], "little")).normal(size=96)
        return np.random.default_rng(seed).normal(size=96) + (0.3 * own if word in LIKE else 0.0)

    found = np.stack([np.mean([vector(word) for word in split_words(text)], 0) for text in texts])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_it_learns_what_the_text_graph_says_and_reads_words_that_the_graph_does_not_know(landscape: Bundle) -> None:
    with closing(open_session(landscape.graph_path("text"))) as session:
        few, untrained = sentences.fit(word_vectors, landscape, session, count=64, steps=1, progress=False)
        weights, figures = sentences.fit(word_vectors, landscape, session, count=1_500, steps=300, progress=False)
    assert figures["cosine"] > untrained["cosine"] + 0.3
    assert figures["same_scene"] > 0.7
    assert untrained["same_scene"] < 0.4
    assert 0.3 < figures["variance_met"] <= 1.0
    assert set(few) == set(weights)
    graph = landscape.manifest.graphs["text"].sha256
    card = ProjectionCard(model="words", fingerprint="0" * 64, bundle="landscape", text_graph=graph, limit=4.0)
    encode = projected(Projection(card, weights), landscape, lambda text: word_vectors([text])[0])
    for word, scene in zip(LIKE, ("fire", "rain", "underwater"), strict=True):
        with pytest.raises(PresetError, match="knows none of the words"):
            tokenize(word, landscape.manifest.text)
        read = landscape.tensors["scene_embeddings"] @ encode(word).embedding
        assert SCENES[int(np.argmax(read))] == scene, word


def test_the_captions_are_the_grammars_and_the_same_again() -> None:
    said = sentences.sentences(50, 3)
    assert said == sentences.sentences(50, 3) != sentences.sentences(50, 4)
    assert len(said) == 50 + (1 + len(SCENES)) * sentences.LABELS_A_SCENE
    assert all(captions.encode(text)[1] == [] for text in said)


def model_folder(folder: Path, kind: str = "sentence_transformers.models.Transformer") -> Path:
    folder.mkdir()
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    return folder


def test_what_is_no_model_or_asks_for_too_much_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(CymaticError, match=r"holds no sentence-transformers model: .* modules\.json"):
            sentences.open_model(folder)
    for content in ("{", "[3]", '[{"path": ""}]', '{"a": 1}'):
        damaged = model_folder(tmp_path / f"damaged{len(content)}")
        (damaged / "modules.json").write_text(content)
        with pytest.raises(CymaticError, match="damaged"):
            sentences.open_model(damaged)
    with pytest.raises(CheckpointRefused, match="its own code"):
        sentences.open_model(model_folder(tmp_path / "code", "theirs.Module"))
    pickled = model_folder(tmp_path / "pickled")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(CheckpointRefused, match="pickled weights only"):
        sentences.fingerprint(pickled)
    (pickled / "model.safetensors").write_bytes(b"")
    assert sentences.check_model(pickled) == [pickled / "model.safetensors", pickled / "modules.json"]


def test_a_fingerprint_follows_every_file(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    prints = [sentences.fingerprint(folder)]
    (folder / "model.safetensors").write_bytes(b"weights")
    prints.append(sentences.fingerprint(folder))
    (folder / "model.safetensors").write_bytes(b"weightz")
    prints.append(sentences.fingerprint(folder))
    assert len(set(prints)) == 3
    (folder / "README.md").write_text("not part of it")
    assert sentences.fingerprint(folder) == prints[-1]
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert sentences.fingerprint(moved) == prints[-1]


@pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is not None, reason="the extra is installed")
def test_without_the_extra_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_folder(tmp_path / "model")
    assert cli.main(["presets", "fit", str(folder), str(tmp_path / "out")]) == 2
    assert "pip install 'cymatic[text]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def tiny_model(folder: Path) -> Path:
    """A sentence-transformers model as its library saves one: a BERT of two layers with random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    raw = folder.with_name("raw")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *captions.WORDS, *LIKE]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(str(raw))
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **size)).save_pretrained(str(raw))
    SentenceTransformer(modules=[Transformer(str(raw)), Pooling(64)], device="cpu").save(str(folder))
    return folder


@pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is None, reason="the extra `text` is missing")
@pytest.mark.filterwarnings("ignore")
def test_the_whole_way_with_a_real_model(
    tmp_path: Path, landscape: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("count", 1_000), ("steps", 200)):
        monkeypatch.setitem(sentences.fit.__kwdefaults__, name, value)
    folder, out, presets = tiny_model(tmp_path / "model"), tmp_path / "p.safetensors", tmp_path / "presets"
    presets.mkdir()
    capsys.readouterr()
    assert cli.main(["presets", "fit", str(folder), str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {out}\n")
    card = read_projection(out).card
    assert (card.model, card.bundle) == ("model", "landscape")
    assert card.fit["cosine"] > 0.3

    new = ["presets", "new", "party", "--text", "a bonfireparty at night", "1", "--folder", str(presets)]
    assert cli.main([*new, "--sentences", str(folder), str(out)]) == 0
    assert "does not know" not in capsys.readouterr().out
    made = PresetStore([presets]).load("party")
    told = compose(made, landscape, serial=1)
    assert np.abs(told["offset"]).max() > 0.01, "a show needs neither model nor projection"
    assert cli.main([*new, "--replace"]) == 0
    assert "does not know or cannot fit: bonfireparty" in capsys.readouterr().out
    assert compose(PresetStore([presets]).load("party"), landscape, serial=2)["offset"] != told["offset"]

    (folder / "config_sentence_transformers.json").write_text("{}")
    assert cli.main([*new, "--replace", "--sentences", str(folder), str(out)]) == 2
    assert "whose files are not those of" in capsys.readouterr().err
