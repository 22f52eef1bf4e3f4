"""`cymatic render` as a user runs it: real sound files in, real films out, read back with PyAV."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import wait_until
from live_process import ROOT

from cymatic import cli
from presets.schema import Preset, Seed
from presets.store import PresetStore

RATE = 44_100
CLICKS_S = (0.51, 1.27)


@pytest.fixture(autouse=True)
def nobodys_presets(tmp_path_factory, monkeypatch):
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("render")


@pytest.fixture(scope="module")
def clicks(folder) -> Path:
    """Two seconds and a half of stereo silence with two clicks."""
    sound = np.zeros((round(2.5 * RATE), 2), np.float32)
    for at in CLICKS_S:
        begin = round(at * RATE)
        sound[begin : begin + 60] = 0.9 * np.random.default_rng(0).choice([-1.0, 1.0], (60, 1))
    soundfile.write(folder / "clicks.wav", sound, RATE)
    return folder / "clicks.wav"


@pytest.fixture(scope="module")
def silence(folder) -> Path:
    soundfile.write(folder / "silence.wav", np.zeros((round(2.5 * RATE), 2), np.float32), RATE)
    return folder / "silence.wav"


@pytest.fixture
def render(tiny_bundle, capsys):
    """Renders with the tiny bundle; the exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        given = list(map(str, arguments))
        code = cli.main(["render", *given, *([] if "--bundle" in given else ["--bundle", str(tiny_bundle)])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.array([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)], np.int16)


def sound(path: Path) -> tuple[np.ndarray, int]:
    """Sound `[n, channels]` as a player plays it, and its rate."""
    with av.open(str(path)) as film:
        rate = film.streams.audio[0].rate
        return np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0) if frame.pts >= 0], 1).T, rate


def test_a_film_has_the_length_of_its_sound_and_the_size_of_its_bundle(render, clicks, tmp_path):
    code, out, err = render(clicks, tmp_path / "film.mp4")
    assert (code, err) == (0, ""), "no progress bar where nobody watches"
    assert out == f"{tmp_path / 'film.mp4'}: 75 frames, 2.5 s\n"
    with av.open(str(tmp_path / "film.mp4")) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        assert (video.width, video.height, video.average_rate, video.frames) == (64, 36, 30, 75)
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", RATE, "stereo")
        assert film.duration / av.time_base == pytest.approx(2.5, abs=0.03)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_sound_and_picture_stand_where_the_sound_file_has_them(render, clicks, silence, tmp_path):
    for source, name in ((clicks, "clicks.mp4"), (silence, "silence.mp4")):
        assert render(source, tmp_path / name, "--fps", 50)[0] == 0
    heard, rate = sound(tmp_path / "clicks.mp4")
    assert rate == RATE
    for at in CLICKS_S:
        around = slice(round((at - 0.2) * rate), round((at + 0.2) * rate))
        peak = (around.start + np.abs(heard[around, 0]).argmax()) / rate
        assert peak == pytest.approx(at, abs=0.004), "in the film's sound"
    moved = np.abs(pictures(tmp_path / "clicks.mp4") - pictures(tmp_path / "silence.mp4")).mean(axis=(1, 2, 3))
    # Much more than what x264 borrows from the frames to come.
    seen = int(np.flatnonzero(moved > 0.4 * moved.max())[0]) / 50
    assert CLICKS_S[0] <= seen < CLICKS_S[0] + 2 / 50, "in the film's pictures"


def test_two_renders_are_the_same_file_and_another_seed_is_another(render, clicks, tmp_path):
    for name, seed in (("a.mp4", 3), ("b.mp4", 3), ("c.mp4", 4)):
        assert render(clicks, tmp_path / name, "--seconds", 1, "--seed", seed)[0] == 0
    first, again, other = ((tmp_path / name).read_bytes() for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert first == again
    assert (pictures(tmp_path / "a.mp4") != pictures(tmp_path / "c.mp4")).any()
    assert first != other


def test_a_film_has_the_look_of_its_preset(render, clicks, tmp_path):
    store = PresetStore.standard()
    for name, look in (("plain", {}), ("looked", {"look/saturation": 0.0, "look/mirror": "horizontal"})):
        store.save(Preset(name=name, base=Seed(seed=3), controls=look))
        assert render(clicks, tmp_path / f"{name}.mp4", "--preset", name, "--seconds", 0.5)[0] == 0
    plain, looked = pictures(tmp_path / "plain.mp4"), pictures(tmp_path / "looked.mp4")
    assert np.ptp(plain, axis=3).mean() > 3
    assert np.ptp(looked, axis=3).mean() < 2, "grey"
    assert np.abs(looked - looked[:, :, ::-1]).mean() < 2, "mirrored"


@pytest.mark.parametrize(
    ("channels", "rate", "layout", "their_rate"),
    [(1, 8_000, "mono", 8_000), (6, 48_000, "mono", 48_000), (2, 11_127, "stereo", 48_000)],
)
def test_any_sound_is_heard_in_the_film(render, tmp_path, channels, rate, layout, their_rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "tone.wav", np.repeat(tone[:, None], channels, 1), rate)
    assert render(tmp_path / "tone.wav", tmp_path / "film.mp4", "--fps", 5, "--seconds", 0.7)[0] == 0
    heard, found = sound(tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert film.streams.audio[0].layout.name == layout
    assert found == their_rate
    assert len(heard) / found == pytest.approx(0.7, abs=0.05 + 1024 / found)
    middle = heard[round(0.2 * found) : round(0.5 * found), 0]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_a_preset_its_controls_and_the_other_runtime_are_taken(render, clicks, tmp_path):
    store = PresetStore.standard()
    store.save(Preset(name="here", base=Seed(seed=7)))
    store.save(Preset(name="there", base=Seed(seed=8)))
    store.save(Preset(name="deaf", base=Seed(seed=7), controls={"sound/weight": 0.0, "speed": 0.0}))
    takes = {
        name: (tmp_path / f"{name}.mp4", ("--preset", *options))
        for name, options in {
            "here": ("here",),
            "there": ("there",),
            "other": ("here", "--runtime", "onnxruntime"),
            "deaf": ("deaf",),
        }.items()
    }
    for film, options in takes.values():
        assert render(clicks, film, "--seconds", 0.7, *options)[0] == 0
    shown = {name: pictures(film) for name, (film, _) in takes.items()}
    assert np.abs(shown["here"] - shown["there"]).mean() > 3.0
    assert np.abs(shown["here"] - shown["other"]).mean() < 1.0
    assert np.abs(np.diff(shown["deaf"], axis=0)).max() < 10
    assert np.abs(np.diff(shown["here"], axis=0)).max() > 20


# What cannot be done


def refused(answer: tuple[int, str, str], *words: str) -> None:
    code, out, err = answer
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("cymatic: ")
    assert [word for word in words if word not in err] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("no.wav", "film.mp4"), ("no.wav", "no sound file")),
        (("text.wav", "film.mp4"), ("text.wav", "not a sound file")),
        (("empty.wav", "film.mp4"), ("empty.wav", "empty")),
        (("good.wav", "film.avi"), ("film.avi", ".mp4")),
        (("good.wav", "no/film.mp4"), ("no/film.mp4", "No such file")),
        (("good.wav", "folder.mp4"), ("folder.mp4", "folder")),
        (("good.wav", "good.wav/film.mp4"), ("good.wav/film.mp4", "Not a directory")),
        (("good.wav", "film.mp4", "--preset", "nobody"), ("nobody",)),
        (("good.wav", "film.mp4", "--bundle", "nobody"), ("nobody",)),
        (("good.wav", "film.mp4", "--seconds", 0), ("good.wav", "nothing")),
        (("damaged.flac", "film.mp4"), ("damaged.flac", "cannot be decoded")),
    ],
    ids=lambda value: value[0] if len(value) == 2 and isinstance(value[0], str) and "." in value[0] else None,
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(render, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, RATE // 2)
    soundfile.write("good.wav", noise, RATE)
    soundfile.write("damaged.flac", noise, RATE)
    Path("damaged.flac").write_bytes(Path("damaged.flac").read_bytes()[:20_000])
    Path("text.wav").write_text("this is not a sound")
    Path("empty.wav").touch()
    Path("folder.mp4").mkdir()
    before = sorted(tmp_path.rglob("*"))
    refused(render(*arguments), *words)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("missing", ["av", "tqdm"])
def test_without_the_extra_it_says_what_to_install(render, clicks, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    refused(render(clicks, tmp_path / "film.mp4"), missing, "pip install 'cymatic[render]'")


@pytest.mark.parametrize("option", [("--fps", "0"), ("--fps", "x"), ("--seed", "-1"), ("--seconds", "nan")])
def test_options_that_make_no_sense_are_refused(clicks, capsys, option):
    with pytest.raises(SystemExit) as ended:
        cli.main(["render", str(clicks), "film.mp4", *option])
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


def start(clean_env, sound_file: Path, film: Path, bundle: Path, before: str = "") -> subprocess.Popen[str]:
    """A render in a process of its own, which first runs the line `before`."""
    arguments = ["render", str(sound_file), str(film), "--bundle", str(bundle)]
    code = f"import sys; {before or 'pass'}; from cymatic.cli import main; sys.exit(main({arguments!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_old_film_and_no_half_of_a_new_one(clean_env, tiny_bundle, tmp_path, number):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", 0.1 * rng.standard_normal(8_000 * 3_600), 8_000, subtype="PCM_16")
    film = tmp_path / "film.mp4"
    film.write_text("the old film")
    with start(clean_env, tmp_path / "long.wav", film, tiny_bundle) as process:
        wait_until(
            lambda: process.poll() is not None or any(p.stat().st_size > 5_000 for p in tmp_path.glob(".film*")),
            120,
            "a film that grows",
        )
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "cymatic: stopped, nothing was written\n")
    assert film.read_text() == "the old film"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "long.wav"]


def test_a_full_disk_is_one_line_and_leaves_no_half_film(clean_env, tiny_bundle, clicks, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))"
    with start(clean_env, clicks, tmp_path / "film.mp4", tiny_bundle, limit) as process:
        out, err = process.communicate(timeout=120)
    refused((process.returncode, out, err), "film.mp4", "File too large")
    assert list(tmp_path.iterdir()) == []


def test_a_long_film_needs_no_more_memory_than_a_short_one(tmp_path):
    """400 pictures of full size are 225 MiB; the encoder may hold a second or two of them."""
    code = f"""
import numpy as np, psutil
from pathlib import Path
from cymatic.movie import Movie
picture, sound = np.full((288, 512, 4), 128, np.uint8), np.zeros((1600, 2), np.float32)
with Movie(Path({str(tmp_path / "film.mp4")!r}), 288, 512, 30.0, 48_000, 2) as movie:
    for number in range(600):
        picture[:, number % 512] = number % 256
        movie.picture(picture)
        movie.sound(sound)
        if number == 200:
            before = psutil.Process().memory_info().rss
    print((psutil.Process().memory_info().rss - before) / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
    )
    assert float(done.stdout) < 20.0
