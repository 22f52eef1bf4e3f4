"""`cymatic adapt` on a tiny generator and a handful of sounds: it learns, plays, follows, and goes on where it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from checkpoint_files import stylegan2_tensors, write_nvidia
from live_process import live
from one_thread import one_thread_throughout  # noqa: F401

from cymatic import cli
from engine.audio.mel import MelConfig
from engine.bundle import load_bundle
from engine.offline import open_sessions
from engine.offline import paint as play
from engine.runtime.session import open_graph
from export.foreign.adapted import open_easel
from export.foreign.bundle import import_checkpoint
from training import adaptation
from training.adaptation import Easel, read_clips, train
from training.run import Run, read_rows
from training.towers import own_towers

pytestmark = pytest.mark.timeout(900)
RATE = 32_000
CPU = torch.device("cpu")


def sounds() -> dict[str, np.ndarray]:
    """A low hum, hiss, clicks and a high whistle."""
    draws = np.random.default_rng(5)
    t = np.arange(3 * RATE) / RATE
    noise = draws.standard_normal(len(t))
    return {
        "thunder/hum.wav": 0.3 * np.sin(2 * np.pi * 70 * t),
        "rain/hiss.wav": 0.1 * noise,
        "fire/clicks.flac": 0.5 * noise * (np.sin(2 * np.pi * 3 * t) > 0.97),
        "whistle.ogg": 0.2 * np.sin(2 * np.pi * 5000 * t),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`faces`, an imported bundle, and `sounds`. Not to be changed."""
    folder = tmp_path_factory.mktemp("adapt")
    checkpoint = write_nvidia(folder / "faces.pkl", stylegan2_tensors(32, seed=3))
    import_checkpoint(checkpoint, folder / "faces", "faces", licence="CC BY-NC 4.0")
    for name, sound in sounds().items():
        path = folder / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound.astype(np.float32), RATE)
    (folder / "sounds" / "notes.txt").write_text("not a sound")
    return folder


@pytest.fixture(scope="module")
def adapted(folder: Path) -> Path:
    """What the command line made: a bundle, and `run` beside it."""
    command = ["adapt", folder / "faces", "--sounds", folder / "sounds", "--run", folder / "run", "--steps", 30]
    assert cli.main([*map(str, command), "--batch", "4", "--quiet"]) == 0
    return folder / "faces-adapted"


def test_the_loss_falls_and_pictures_come_apart(folder: Path, adapted: Path) -> None:
    rows = read_rows(folder / "run" / "metrics" / "adaptation.jsonl")
    losses = [row["sound_loss"] for row in rows if "sound_loss" in row]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])
    before, after = rows[0], rows[-1]
    assert after["cos"] > before["cos"] + 0.1
    assert after["cos"] > after["shuffled_cos"] + 0.1
    assert after["found"] > before["found"]
    assert after["apart"] > 2 * before["apart"]
    told = load_bundle(adapted).manifest.provenance["adapted"]
    assert (told["sounds"], told["steps"], told["towers"]) == (4, 30, "cymatic")
    assert told["before_and_after"]["found"] == [before["found"], after["found"]]


def test_it_is_a_bundle_with_scenes_and_words(folder: Path, adapted: Path) -> None:
    bundle, original = load_bundle(adapted), load_bundle(folder / "faces")
    assert len(bundle.manifest.scenes) == 9
    assert bundle.manifest.text is not None
    assert bundle.manifest.licence == "CC BY-NC 4.0"
    assert set(bundle.tensors) == {"w_avg", "stroke", "sway", "scene_embeddings"}
    for graph in ("generator", "mapping", "recurrent"):
        assert bundle.manifest.graphs[graph].sha256 == original.manifest.graphs[graph].sha256
    assert "text" not in original.manifest.graphs, "the imported bundle stays as it is"
    text = open_graph(bundle, "text", "onnxruntime", threads=1)
    fire, rain = (text.run({"tokens": bundle.manifest.text.tokens(word)})["delta"].copy() for word in ("fire", "rain"))
    text.close()
    assert np.abs(fire - rain).max() > 0.05


def test_it_follows_the_sound(adapted: Path) -> None:
    bundle = load_bundle(adapted)
    heard = sounds()

    def picture(name: str) -> np.ndarray:
        with open_sessions(bundle, "onnxruntime", threads=1) as sessions:
            *_, last = (p.image[..., :3].astype(int) for p in play(heard[name], RATE, bundle, sessions, fps=5))
        return last

    hum, hiss, again = (picture(name) for name in ("thunder/hum.wav", "rain/hiss.wav", "thunder/hum.wav"))
    assert np.abs(hum - again).max() == 0
    assert np.abs(hum - hiss).mean() > 8, "another sound is another picture"


def test_it_plays(adapted: Path, clean_env: dict[str, str], tmp_path: Path) -> None:
    done = live(
        clean_env, "--headless", "--source", "demo", "--bundle", adapted, "--seconds", 1, "--fps", 30,
        "--report", tmp_path / "r.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r.json").read_text())["frames"] > 3


def test_gradients_pass_through_a_bundles_generator(folder: Path) -> None:
    bundle = load_bundle(folder / "faces")
    easel = open_easel(bundle, CPU)
    w = easel.places[:1]
    session = open_graph(bundle, "generator", "onnxruntime", threads=1)
    expected = session.run({"w_plus": w.numpy()})["rgba"][..., :3].astype(int)
    session.close()
    with torch.no_grad():
        found = (easel.paint(w)[0].permute(1, 2, 0) * 127.5 + 127.5).round().int().numpy()
    assert np.abs(found - expected).mean() < 0.01
    step = torch.randn(w.shape, generator=torch.Generator().manual_seed(2))
    leaf = w.clone().requires_grad_()
    easel.paint(leaf).mean().backward()

    def mean(far: float) -> float:  # not rounded to bytes, for a gradient is asked for
        return easel.paint((w + far * step).requires_grad_()).mean().item()

    slope = float((leaf.grad * step).sum())
    assert abs(slope) > 1e-4
    assert (mean(1e-2) - mean(-1e-2)) / 2e-2 == pytest.approx(slope, rel=0.1)


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "SAVE_EVERY", 2)
    towers = own_towers(CPU)
    easel = open_easel(load_bundle(folder / "faces"), CPU)
    clips = read_clips(folder / "sounds", towers, MelConfig())
    assert len(clips.rows) == 4
    assert clips.labels.any(1).tolist() == [True, True, True, False], "fire, rain, thunder; the whistle has no folder"

    def learn(name: str, using: Easel) -> dict[str, torch.Tensor]:
        return train(
            Run(tmp_path / name), using, clips, towers, 5, 2, {}, device=CPU, progress=False
        ).sound.state_dict()

    whole, painted = learn("whole", easel), []

    def paint(w_plus: torch.Tensor) -> torch.Tensor:
        painted.append(1)
        if len(painted) == 4 + 4 * 3 + 2:  # the pictures of the evaluation, of three steps twice, and of half a step
            raise KeyboardInterrupt
        return easel.paint(w_plus)

    with pytest.raises(KeyboardInterrupt):
        learn("killed", Easel(paint, easel.places, easel.w_avg, easel.groups))
    assert int(Run(tmp_path / "killed").load("adaptation")["step"]) == 2
    resumed = learn("killed", easel)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    rows = [[r["step"] for r in Run(tmp_path / name).rows("adaptation")] for name in ("whole", "killed")]
    assert rows[0] == rows[1]


def test_what_cannot_be_adapted_is_said_in_one_line(
    folder: Path, adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(folder / "sounds" / "rain" / "hiss.wav", one)
    soundfile.write(one / "silence.wav", np.zeros(RATE, np.float32), RATE)
    faces, heard, begun = str(folder / "faces"), str(folder / "sounds"), ["--run", str(folder / "run")]
    for arguments, part in (
        (["landscape", "--sounds", heard], "only a bundle that `cymatic import` made"),
        ([faces, "--sounds", str(tmp_path / "none")], "is no folder"),
        ([faces, "--sounds", str(one)], "holds 1 sounds; at least two"),
        ([faces, "--sounds", heard, "--batch", "3", *begun], "name another folder with --run"),
        ([faces, "--sounds", heard, "--out", str(one)], "is not a bundle and is not empty"),
        ([faces, "--sounds", heard, "--clip", str(one)], "--clip and --clap belong together"),
    ):
        assert cli.main(["adapt", *arguments, "--quiet"]) == 2, part
        line = capsys.readouterr().err
        assert part in line
        assert line.count("\n") == 1
