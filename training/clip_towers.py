"""CLIP and CLAP as the towers of an adaptation (extra `clip`), from local folders in the layout of transformers.

Nothing is fetched, no code from a folder is run, and no pickle is read. CLIP looks and reads, CLAP hears; they share no
sphere. Words bridge them: CLAP says which sentences of the world's grammar a sound is like, and the sound stands where
CLIP puts these sentences.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import CheckpointRefused, CymaticError
from training.towers import Towers, load_joint
from training.world import captions

CLAP_RATE = 48_000
HEARD_S = 5.0  # of sound before a window's end; CLAP was trained on clips of ten
HOTTEST = 50.0  # how sharply CLAP may choose among sentences
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP as published

Float32 = NDArray[np.float32]


def clip_towers(clip: Path, clap: Path, device: torch.device) -> Towers:
    """Both models, frozen. Raises CymaticError, one line, for a folder that holds no such model, CheckpointRefused for
    pickled weights."""
    digest = _fingerprint(clip, "clip") + _fingerprint(clap, "clap")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when it is imported
    try:
        import transformers
    except ImportError:
        raise CymaticError("CLIP and CLAP need transformers: pip install 'cymatic[clip]'") from None
    transformers.utils.logging.disable_progress_bar()
    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    folder = clip
    try:
        looks: Any = transformers.CLIPModel.from_pretrained(clip, use_safetensors=True, **safely)
        tokenise: Any = transformers.AutoTokenizer.from_pretrained(clip, **safely)
        folder = clap
        hears: Any = transformers.ClapModel.from_pretrained(clap, use_safetensors=True, **safely)
        sentences_of: Any = transformers.AutoTokenizer.from_pretrained(clap, **safely)
        spectrum_of: Any = transformers.ClapFeatureExtractor.from_pretrained(clap, **safely)
    except Exception as error:  # a damaged model fails in as many ways as its format has parts
        raise CymaticError(f"{folder} cannot be opened: {' '.join(str(error).split())[:200]}") from error
    for model in (looks, hears):
        model.eval().requires_grad_(False).to(device)
    mean, std = (values.to(device)[:, None, None] for values in _normalisation(clip))
    size, longest = looks.config.vision_config.image_size, looks.config.text_config.max_position_embeddings

    def look(pictures: Tensor) -> Tensor:
        resized = nnf.interpolate((pictures + 1) / 2, (size, size), mode="bilinear", antialias=True)
        return nnf.normalize(_pooled(looks.get_image_features(pixel_values=(resized - mean) / std)), dim=1)

    @torch.no_grad()
    def read(sentences: Sequence[str]) -> Tensor:
        tokens = tokenise(list(sentences), padding=True, truncation=True, max_length=longest, return_tensors="pt").to(
            device
        )
        return nnf.normalize(_pooled(looks.get_text_features(**tokens)), dim=1)

    words = sorted({phrase for strengths in captions.PHRASES.values() for phrases in strengths for phrase in phrases})
    places = read(words)
    with torch.no_grad():
        tokens = sentences_of(words, padding=True, return_tensors="pt").to(device)
        called = nnf.normalize(_pooled(hears.get_text_features(**tokens)), dim=1)
        heat = hears.logit_scale_a.exp().clamp(max=HOTTEST)

    @torch.no_grad()
    def hear(sound: Float32, sample_rate: int, ends_s: Float32) -> Tensor:
        found = []
        for end_s in ends_s:
            part = sound[max(0, int((end_s - HEARD_S) * sample_rate)) : int(end_s * sample_rate)]
            part = _resampled(part, sample_rate)
            mel = spectrum_of(part, sampling_rate=CLAP_RATE, return_tensors="pt").to(device)
            heard = nnf.normalize(_pooled(hears.get_audio_features(**mel)), dim=1)
            found.append(torch.softmax(heat * heard @ called.t(), 1) @ places)
        return nnf.normalize(torch.cat(found), dim=1)

    joint = load_joint().to(device)
    sha256 = hashlib.sha256(digest.encode()).hexdigest()
    return Towers("CLIP and CLAP", sha256, places.shape[1], hear, look, read, joint, own=False)


def _pooled(found: Any) -> Tensor:
    """The embedding in what transformers answers, which was a tensor before its version 5."""
    return found if isinstance(found, Tensor) else found.pooler_output


def _resampled(sound: Float32, sample_rate: int) -> Float32:
    """`sound` at CLAP's rate, by its spectrum."""
    count = max(1, round(len(sound) * CLAP_RATE / sample_rate))
    spectrum = np.fft.rfft(sound)
    return (np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / len(sound))).astype(np.float32)


def _normalisation(clip: Path) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the pictures that CLIP was trained with, by colour."""
    try:
        told = json.loads((clip / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    return torch.tensor(told.get("image_mean", MEAN)), torch.tensor(told.get("image_std", STD))


def _fingerprint(folder: Path, kind: str) -> str:
    """SHA-256 of a model's settings and weights, which must be safetensors."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != kind:
        raise CymaticError(f"{folder} holds no {kind.upper()} model: a local folder with its config.json is wanted")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise CheckpointRefused(f"{folder} holds no safetensors: pickled weights are never read")
    digest = hashlib.sha256()
    for file_path in (path, *weights):
        with file_path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
