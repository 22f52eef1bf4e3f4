"""Open vocabulary: learn the projection that lets a sentence-transformers model read for a bundle (extra `text`).

The sentence model stays as it is; a small network learns to say of its embedding of a caption what the bundle's own
text graph says of the caption's words: where F_t puts it, and what E_t answers. The captions come from the world's
grammar, without end, so nothing is needed but the bundle and the model. What the grammar lacks is read by its nearness
to what it has: "a bonfire party" lies beside "a campfire" in a good sentence model, wherever it was trained.

    loss = contrastive(embedding, F_t) + [1 − cos(embedding, F_t)] + ‖delta − E_t‖² / var(E_t)

A model is a local folder. Nothing is fetched, no code from it is run, and no pickled weights are read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from engine.bundle import Bundle
from engine.errors import CheckpointRefused, CymaticError
from training.losses import cosine_distance, symmetric_contrastive
from training.run import seeded
from training.world import captions, factors

CAPTIONS, HELD_OUT = 6_000, 500
LABELS_A_SCENE = 8  # prompts beside the captions, as the text encoder had
HIDDEN = 256
STEPS, BATCH = 1_500, 128
LEARNING_RATE = 2e-3
HEAT = 1.0 / 0.07
LIMIT = 4.0  # of an offset, as `training.networks.encoders.Inversion` has it
FILES = (".json", ".txt", ".model", ".safetensors")  # what a sentence model is made of
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

Float32 = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Float32]
"""Sentences → their embeddings `[N, S]`, of unit length."""


class Session(Protocol):
    """What is needed of `engine.runtime.Session`."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once."""


def check_model(folder: Path) -> list[Path]:
    """The files that a sentence-transformers model in a folder is made of, sorted.

    Raises `CymaticError` when it holds none, `CheckpointRefused` when it asks for code or for pickled weights.
    """
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        parts = [(str(module["type"]), folder / str(module["path"])) for module in modules]
    except OSError:
        raise CymaticError(
            f"{folder} holds no sentence-transformers model: a local folder with a modules.json is wanted"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise CymaticError(f"{folder / 'modules.json'} cannot be read: the model is damaged") from None
    for kind, part in parts:
        if not kind.startswith("sentence_transformers."):
            raise CheckpointRefused(f"{folder} asks to run its own code ({kind[:80]}), which is never done")
        files = {path.suffix for path in part.glob("*") if path.is_file()}
        if files & set(PICKLED) and ".safetensors" not in files:
            raise CheckpointRefused(f"{part} holds pickled weights only: save the model again as safetensors")
    folders = {folder, *(part for _, part in parts)}
    return sorted({path for one in folders for path in one.glob("*") if path.is_file() and path.suffix in FILES})


def fingerprint(folder: Path) -> str:
    """SHA-256 over what `check_model` lists, names and contents."""
    total = hashlib.sha256()
    for path in check_model(folder):
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def open_model(folder: Path) -> Embed:
    """The sentence model of a local folder, on the processor. Raises `CymaticError`, one line, and as `check_model`."""
    check_model(folder)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when it is imported
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError:
        raise CymaticError("sentence models need sentence-transformers: pip install 'cymatic[text]'") from None
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged model fails in as many ways as its format has parts
        raise CymaticError(f"{folder} cannot be opened: {' '.join(str(error).split())[:200]}") from error

    def embed(sentences: Sequence[str]) -> Float32:
        found = model.encode(
            list(sentences), batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(found, np.float32)

    return embed


class Network(nn.Module):
    """What `presets.projection` applies: `[B, S]` of unit length → `delta [B, L·D]`, `embedding [B, E]`."""

    def __init__(self, sentence: int, embedding: int, delta: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(sentence, HIDDEN)
        self.embedding = nn.Linear(HIDDEN, embedding)
        self.delta = nn.Linear(HIDDEN, delta)

    def forward(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.silu(self.hidden(sentence))
        return LIMIT * torch.tanh(self.delta(hidden) / LIMIT), nn.functional.normalize(self.embedding(hidden), dim=1)


def sentences(count: int, seed: int) -> list[str]:
    """Captions of the world, and the prompts of each scene among them."""
    draws = seeded(seed, 91)
    said = [captions.caption(vector, draws) for vector in factors.draw(count, draws)]
    named = [captions.label(s, draws) for s in range(-1, len(factors.SCENES)) for _ in range(LABELS_A_SCENE)]
    return said + named


def read_by_graph(texts: Sequence[str], bundle: Bundle, session: Session) -> tuple[Tensor, Tensor]:
    """What the bundle's text graph says: `delta [N, L·D]`, `embedding [N, E]`."""
    deltas, embeddings = [], []
    for text in texts:
        found = session.run({"tokens": bundle.manifest.text.tokens(text)})
        deltas.append(np.array(found["delta"], np.float32).reshape(-1))
        embeddings.append(np.array(found["embedding"], np.float32).reshape(-1))
    return torch.from_numpy(np.stack(deltas)), torch.from_numpy(np.stack(embeddings))


def fit(
    embed: Embed, bundle: Bundle, session: Session, *, count: int = CAPTIONS, steps: int = STEPS, seed: int = 1,
    progress: bool = True,
) -> tuple[dict[str, Float32], dict[str, float]]:  # fmt: skip
    """Learn the projection from `count` captions; its weights, and how it does on `HELD_OUT` others."""
    texts = sentences(count, seed)
    said = torch.from_numpy(embed(texts))
    deltas, embeddings = read_by_graph(texts, bundle, session)
    torch.manual_seed(seed)
    network = Network(said.shape[1], embeddings.shape[1], deltas.shape[1])
    # Sentence models crowd their embeddings into a corner of the sphere; the network learns from what differs.
    middle, width = said.mean(0), said.std(0)
    width = width.clamp(min=0.1 * float(width.mean()))
    said = (said - middle) / width
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    heat, spread = torch.tensor(HEAT), deltas.var().clamp(min=1e-8)
    for step in tqdm(range(steps), desc="projection", disable=None if progress else True):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        rows = torch.randint(len(texts), (BATCH,), generator=seeded(seed, 92, step))
        delta, embedding = network(said[rows])
        loss = symmetric_contrastive(embedding, embeddings[rows], heat) + cosine_distance(embedding, embeddings[rows])
        loss = loss + (delta - deltas[rows]).square().mean() / spread
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():  # and takes them as they are
        network.hidden.weight /= width
        network.hidden.bias -= network.hidden.weight @ middle
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    return weights, _measure(network, embed, bundle, session, seed)


@torch.no_grad()
def _measure(network: Network, embed: Embed, bundle: Bundle, session: Session, seed: int) -> dict[str, float]:
    """Held-out captions: closeness to F_t, the part of E_t's variance that is met, and how often both name one scene.

    All of their words are the grammar's. What a sentence model is for, words that the grammar lacks, no figure shows.
    """
    draws = seeded(seed + 1_000_000, 93)
    texts = [captions.caption(vector, draws) for vector in factors.draw(HELD_OUT, draws, calm=0.0, pair=0.0)]
    deltas, embeddings = read_by_graph(texts, bundle, session)
    delta, embedding = network(torch.from_numpy(embed(texts)))
    names = torch.from_numpy(bundle.tensors["scene_embeddings"].copy())
    same = (embedding @ names.t()).argmax(1) == (embeddings @ names.t()).argmax(1)
    met = 1.0 - float((delta - deltas).square().mean() / deltas.var())
    return {
        "cosine": round(1.0 - float(cosine_distance(embedding, embeddings)), 4),
        "variance_met": round(met, 4),
        "same_scene": round(float(same.float().mean()), 4),
    }
