"""CLIP and CLAP in the towers' place: tiny models of random weights, through the real libraries, from real folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import stylegan2_tensors, write_nvidia
from tqdm import tqdm

from engine.audio.mel import MelConfig
from engine.bundle import load_bundle
from engine.errors import CheckpointRefused, CymaticError
from export.foreign.adapted import open_easel, write_adapted
from export.foreign.bundle import import_checkpoint
from training.adaptation import read_clips, train
from training.clip_towers import clip_towers
from training.run import Run
from training.world import captions

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]  # the libraries' own affairs
CPU, RATE = torch.device("cpu"), 32_000


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Of torch's; and none that watches the exporter's bars."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tqdm, "monitor_interval", 0)
        yield
    torch.set_num_threads(before)


def write_tokenizer(folder: Path, kind: type, special: list[str]) -> None:
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(list(captions.WORDS), vocab_size=400, special_tokens=special)
    bpe.save_model(str(folder))
    kind(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)


def save(model: torch.nn.Module, folder: Path) -> None:
    """With larger weights than the libraries' own random ones, which say much the same of everything."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0 if parameter.ndim > 1 else 1.0)
    model.save_pretrained(folder)


def write_clip(folder: Path) -> Path:
    folder.mkdir()
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 500, "max_position_embeddings": 32, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**small, "image_size": 32, "patch_size": 8}
    torch.manual_seed(1)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    save(transformers.CLIPModel(config), folder)
    write_tokenizer(folder, transformers.CLIPTokenizer, ["<|startoftext|>", "<|endoftext|>"])
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return folder


def write_clap(folder: Path) -> Path:
    folder.mkdir()
    text = {"vocab_size": 500, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 40, "projection_dim": 12}  # fmt: skip
    audio = {"hidden_size": 64, "patch_embeds_hidden_size": 16, "depths": [1, 1, 1], "num_attention_heads": [2, 2, 2],
             "num_hidden_layers": 3, "projection_dim": 12, "enable_fusion": False}  # fmt: skip
    torch.manual_seed(2)
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    save(transformers.ClapModel(config), folder)
    write_tokenizer(folder, transformers.RobertaTokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    transformers.ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return write_clip(folder / "clip"), write_clap(folder / "clap")


def test_both_answer_on_one_sphere_and_pictures_pass_gradients(models: tuple[Path, Path]) -> None:
    towers = clip_towers(*models, CPU)
    assert (towers.dim, towers.own) == (24, False)
    draws = np.random.default_rng(0)
    noise = 0.1 * draws.standard_normal(2 * RATE).astype(np.float32)
    hum = np.sin(np.arange(2 * RATE) / 30, dtype=np.float32)
    heard = [towers.hear(sound, RATE, np.array([1.0, 2.0], np.float32)) for sound in (noise, hum)]
    said = towers.read(["a small fire", "heavy rain"])
    pictures = torch.rand(2, 3, 48, 48, requires_grad=True)
    seen = towers.look(pictures * 2 - 1)
    for found in (*heard, said, seen):
        assert found.shape == (2, 24)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert (heard[0] - heard[1]).abs().max() > 1e-4
    seen.sum().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().max() > 0
    assert clip_towers(*models, CPU).sha256 == towers.sha256


def test_a_bundle_is_adapted_with_them(models: tuple[Path, Path], tmp_path: Path) -> None:
    """The small networks of the bundle learn to say what CLIP and CLAP say."""
    import soundfile

    sounds = tmp_path / "sounds"
    sounds.mkdir()
    t = np.arange(2 * RATE) / RATE
    soundfile.write(sounds / "hum.wav", 0.3 * np.sin(440 * t), RATE)
    soundfile.write(sounds / "hiss.wav", 0.1 * np.random.default_rng(1).standard_normal(len(t)), RATE)
    import_checkpoint(write_nvidia(tmp_path / "x.pkl", stylegan2_tensors(16, seed=3)), tmp_path / "x", "x")
    bundle, towers = load_bundle(tmp_path / "x"), clip_towers(*models, CPU)
    clips = read_clips(sounds, towers, MelConfig())
    easel = open_easel(bundle, CPU)
    adapted = train(Run(tmp_path / "run"), easel, clips, towers, 12, 2, {}, device=CPU, progress=False)
    with torch.no_grad():
        likeness = (adapted.hears(clips.mels.float()) * clips.heard).sum(1)
    assert likeness.mean() > 0.5
    write_adapted(tmp_path / "out", bundle, adapted, "x-adapted", {})
    assert load_bundle(tmp_path / "out").manifest.embedding_dim == 24


def test_what_is_no_model_and_what_is_pickled_is_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    clip, clap = models
    with pytest.raises(CymaticError, match="holds no CLIP model: a local folder"):
        clip_towers(clap, clap, CPU)
    with pytest.raises(CymaticError, match="holds no CLAP model"):
        clip_towers(clip, tmp_path, CPU)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((clap / "config.json").read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(CheckpointRefused, match="pickled weights are never read"):
        clip_towers(clip, pickled, CPU)
    (pickled / "model.safetensors").write_bytes(b"x" * 64)
    with pytest.raises(CymaticError, match="pickled cannot be opened"):
        clip_towers(clip, pickled, CPU)
