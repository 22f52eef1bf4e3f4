"""`cymatic import`: from a checkpoint to a bundle that plays, and what its default map does with sound."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import stylegan2_tensors, stylegan3_tensors, write_nvidia
from live_process import live
from one_thread import one_thread_throughout  # noqa: F401
from stylegan_reference import grey_levels, paint

from cymatic import cli
from engine.audio.mel import MelConfig, mel_windows
from engine.bundle import Bundle, load_bundle
from engine.contract import GROUPS
from engine.errors import BundleError, PresetError, RuntimeUnavailable
from engine.offline import open_sessions
from engine.offline import paint as play
from engine.runtime.session import open_graph
from export.foreign import bundle as importer
from export.foreign.directions import KEPT, Direction, find_directions, pictures_painted
from export.foreign.graphs import HEARD, ROUTES, DriftGraph, MapGraph
from presets.store import PresetStore

pytestmark = pytest.mark.timeout(900)  # the exporter's first graph takes its time
RATE = 48_000


TENSORS = {"two": stylegan2_tensors(32, classes=4, seed=3), "three": stylegan3_tensors("T", 16, most=8, seed=3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both checkpoints, imported by the command line. Not to be changed."""
    folder = tmp_path_factory.mktemp("imported")
    for name, tensors in TENSORS.items():
        path = write_nvidia(folder / f"{name}.pkl", tensors, source=f"import os\nos.mkdir({str(folder / 'ran')!r})")
        chosen = ["--class", "2", "--licence", "CC BY-NC 4.0"] if name == "two" else []
        assert cli.main(["import", str(path), str(folder / name), "--quiet", *chosen]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["three", "three.pkl", "two", "two.pkl"]
    return folder


@pytest.fixture(params=sorted(TENSORS))
def bundle(folder: Path, request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(folder / request.param)


def test_it_is_a_bundle_without_a_world(bundle: Bundle) -> None:
    manifest = bundle.manifest
    size = 32 if manifest.name == "two" else 16
    assert (manifest.image.height, manifest.image.width) == (size, size)
    assert set(manifest.graphs) == {"encoder", "reader", "recurrent", "generator", "mapping"}
    assert (manifest.fields, manifest.scenes, manifest.text) == ((), (), None)
    assert set(bundle.tensors) == {"w_avg", "stroke", "sway"}
    assert manifest.latents.layers == (8 if manifest.name == "two" else 16)
    told = manifest.provenance
    assert told["checkpoint"]["kind"] == ("StyleGAN2" if manifest.name == "two" else "StyleGAN3-T")
    assert told["class"] == (2 if manifest.name == "two" else None)
    assert manifest.licence == ("CC BY-NC 4.0" if manifest.name == "two" else importer.UNKNOWN_LICENCE)
    assert set(told["map"]) == {*HEARD, "tempo"}
    for group in GROUPS:
        changes = [direction["grey_levels"] for direction in told["directions"][group]]
        assert len(changes) == KEPT
        assert changes == sorted(changes, reverse=True)
    with pytest.raises(BundleError, match="has no graph text"):
        bundle.graph_path("text")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_it_paints_what_the_published_equations_paint(bundle: Bundle, runtime: str) -> None:
    z = np.random.default_rng(4).standard_normal((1, 16), np.float32)
    try:
        place, painter = (open_graph(bundle, name, runtime, threads=1) for name in ("mapping", "generator"))
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    found = painter.run({"w_plus": place.run({"z": z})["w"]})["rgba"].astype(int)
    place.close()
    painter.close()
    tensors = TENSORS[bundle.manifest.name]
    expected = grey_levels(paint(tensors, torch.from_numpy(z[0]), bundle.manifest.provenance["class"])).numpy()
    assert expected.std() > 10
    assert np.abs(found[..., :3] - expected).mean() < 0.1
    assert (found[..., 3] == 255).all()


def tone(hertz: float, seconds: float = 2.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE, dtype=np.float32)


def heard(samples: np.ndarray, at: float) -> np.ndarray:
    """`[6]`: how `HEARD` is heard, without where it leads."""
    graph = MapGraph(MelConfig(), torch.eye(len(HEARD))[:, :, None])
    with torch.no_grad():
        return graph(torch.from_numpy(mel_windows(samples, RATE, [at])))[0].flatten().numpy()


def test_each_band_hears_its_own() -> None:
    bands = {"bass": 80.0, "low": 300.0, "mid": 1200.0, "high": 6000.0}
    for name, hertz in bands.items():
        strength = dict(zip(HEARD, heard(tone(hertz), 1.5), strict=True))
        assert max(bands, key=lambda band: strength[band]) == name
    assert np.abs(heard(np.zeros(2 * RATE, np.float32), 1.5)).max() < 1e-3, "silence moves nothing"


def test_an_onset_is_heard_when_it_comes_and_not_after() -> None:
    noise = 0.2 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    noise[: RATE * 3 // 2] *= 0.003
    onset = HEARD.index("onset")
    assert heard(noise, 1.54)[onset] > 0.5
    assert heard(noise, 2.5)[onset] < 0.1
    assert heard(noise, 1.0)[onset] < 0.1


def test_sound_moves_the_picture_and_louder_moves_it_more(bundle: Bundle) -> None:
    def pictures(samples: np.ndarray) -> np.ndarray:
        with open_sessions(bundle, "onnxruntime", threads=1) as sessions:
            return np.stack([p.image[..., :3].astype(int) for p in play(samples, RATE, bundle, sessions, fps=10)])

    silence = np.zeros(2 * RATE, np.float32)
    still = pictures(silence)
    beats = silence.copy()
    for at in (0.5, 1.0, 1.5):
        start = int(at * RATE)
        beats[start : start + RATE // 10] = 0.5 * np.random.default_rng(1).standard_normal(RATE // 10)
    moved = pictures(beats)
    drift = np.abs(still - still[0]).mean()
    assert drift > 0.01, "even in silence it breathes"
    assert np.abs(moved - still)[5:].mean() > 2 * drift
    assert np.abs(moved[:5] - still[:5]).max() == 0, "before the first beat nothing differs"


def test_the_beat_swings_the_picture(bundle: Bundle) -> None:
    """A click every half second, once it is known for a beat: the latent swings, and farthest when the beat falls."""
    draws = np.random.default_rng(1)
    clicks = np.zeros(10 * RATE, np.float32)
    for start in range(0, len(clicks), RATE // 2):
        clicks[start : start + RATE // 20] = 0.5 * draws.standard_normal(RATE // 20)

    def latents(of: Bundle) -> np.ndarray:
        with open_sessions(of, "onnxruntime", threads=1) as sessions:
            return np.stack([painted.w_plus for painted in play(clicks, RATE, of, sessions, fps=30)])

    sway = bundle.tensors["sway"]
    stiff = dataclasses.replace(bundle, tensors={**bundle.tensors, "sway": np.zeros_like(sway)})
    along = ((latents(bundle) - latents(stiff)) * sway).sum((1, 2)) / np.square(sway).sum()
    swing, times = along[150:], np.arange(150, 300) / 30  # the second half, when the beat has been found
    assert np.abs(along[:5]).max() < 1e-6, "before a beat is heard nothing swings"
    first = np.exp(-4j * np.pi * times) @ swing / len(swing)
    assert np.abs(first) > 0.5 * swing.std(), "at the beat's own rate"
    assert np.abs(np.angle(first)) < np.pi / 3, "and in time with it"
    assert swing.std() > 0.1


def test_directions_are_orthonormal_and_measured(folder: Path) -> None:
    with importer.open_checkpoint(folder / "two.pkl") as opened:
        foreign = importer.build(opened, 2)
    painted = []

    def look(w_plus: torch.Tensor) -> torch.Tensor:
        return 127.5 * foreign.synthesis(w_plus).clamp(-1, 1)

    found = find_directions(foreign, look, lambda: painted.append(1))
    assert len(painted) == pictures_painted()
    again = find_directions(foreign, look)
    for group, directions in found.items():
        steps = torch.stack([direction.step for direction in directions])
        assert torch.allclose(steps @ steps.t(), torch.eye(KEPT), atol=1e-4)
        assert all(torch.equal(a.step, b.step) for a, b in zip(directions, again[group], strict=True))
    best = found["fine"][0]
    w_plus = foreign.w_avg.expand(1, foreign.layers, -1).clone()
    ahead = w_plus.clone()
    ahead[:, 5:] += best.way
    random = w_plus.clone()
    draws = torch.randn(50, foreign.dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        rest = foreign.synthesis(w_plus)
        change = (foreign.synthesis(ahead) - rest).abs().mean()
        others = []
        for draw in draws:
            random[:, 5:] = w_plus[:, 5:] + best.amplitude * draw / draw.norm()
            others.append(float((foreign.synthesis(random) - rest).abs().mean()))
    assert change > np.median(others), "a direction shows more than most steps of its length"


def test_the_drift_stays_bounded_and_leads_home() -> None:
    steps = torch.eye(8)[:KEPT]
    directions = {g: [Direction(g, i, s, 1.0, 2.0) for i, s in enumerate(steps)] for g in GROUPS}
    graph = DriftGraph(directions, layers=6, rate_hz=30.0)
    draws = torch.Generator().manual_seed(0)
    zero = torch.zeros(1, 6, 8)
    w, hidden = zero, [torch.zeros(1, KEPT)] * 3
    spread, farthest = [], 0.0
    for _ in range(20_000):
        w, *hidden = graph(w, zero, zero, 0.1 * torch.randn(1, 6, 8, generator=draws), *hidden)
        spread.append(torch.cat(hidden).square().mean())
        farthest = max(farthest, float(w.abs().max()))
    assert 0.6 < torch.stack(spread[2000:]).mean() < 1.5, "about one standard deviation"
    assert 0.1 < farthest < 0.35 * 2.0 + 1e-3
    hidden = [torch.zeros(1, KEPT)] * 3
    for _ in range(100):
        w, *hidden = graph(w, zero, zero, zero, *hidden)
    assert w.abs().max() < 1e-3


def test_it_plays_at_once(folder: Path, clean_env: dict[str, str], tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    done = live(
        clean_env, "--headless", "--source", "demo", "--bundle", folder / "two", "--seconds", 1.5, "--fps", 30,
        "--report", report, "--snapshot", tmp_path / "s.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(report.read_text())
    assert told["frames"] > 5
    assert told["bundle"]["name"] == "two"
    assert all(ms > 0 for ms in told["stages_ms"].values())


def test_a_preset_with_words_says_that_it_needs_them(folder: Path, bundle: Bundle) -> None:
    from presets.compose import compose

    store = PresetStore.standard()
    preset = next(p for p in map(store.load, store.names()) if any(anchor.kind == "text" for anchor in p.anchors))
    with pytest.raises(PresetError, match=rf"the bundle '{bundle.manifest.name}' knows no words"):
        compose(preset, bundle, 0)


def test_an_older_bundle_is_replaced_and_anything_else_is_left_alone(folder: Path, tmp_path: Path, capsys) -> None:
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "photo.jpg").write_bytes(b"sea")
    assert cli.main(["import", str(folder / "two.pkl"), str(holiday), "--quiet", "--class", "2"]) == 2
    assert "is not a bundle and is not empty" in capsys.readouterr().err
    assert [path.name for path in holiday.iterdir()] == ["photo.jpg"]
    older = tmp_path / "older"
    shutil.copytree(folder / "three", older)
    broken = write_nvidia(tmp_path / "broken.pkl", {**TENSORS["three"], "mapping.w_avg": torch.full((16,), torch.nan)})
    assert cli.main(["import", str(broken), str(older), "--quiet"]) == 2
    assert "mapping.w_avg holds a number that is not finite" in capsys.readouterr().err
    assert load_bundle(older).manifest == load_bundle(folder / "three").manifest


def test_every_route_leads_to_a_direction_of_its_own() -> None:
    assert set(ROUTES) == {*HEARD, "tempo"}
    assert len(set(ROUTES.values())) == len(ROUTES)
    assert all(group in GROUPS and rank < KEPT for group, rank in ROUTES.values())


def test_a_name_that_no_bundle_can_have_is_refused(folder: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["import", str(folder / "three.pkl"), str(tmp_path / "x"), "--name", "../x", "--quiet"]) == 2
    assert "--name '../x'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
