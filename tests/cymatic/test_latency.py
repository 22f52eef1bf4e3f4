"""`cymatic latency`: what it measures is the way from a sound to the pixels, and it finds what is added to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from live_process import ROOT

from cymatic.cli import main
from cymatic.trial.clicks import BUDGET, Click, budgets, found_more, summary
from cymatic.trial.room import SOUND_PROGRAMS, VirtualDisplay, VirtualMicrophone, missing
from cymatic.trial.watched import FRAME
from engine.errors import CymaticError
from engine.slot import STAGES


def run(env: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cymatic", "latency", "--runtime", "onnxruntime", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL
    )


def skip_without_room() -> None:
    if lacking := missing(*SOUND_PROGRAMS, "Xvfb"):
        pytest.skip(f"not installed: {', '.join(lacking)}")


@pytest.mark.soundserver
@pytest.mark.display
def test_a_wait_that_is_added_is_found(tiny_bundle, clean_env, tmp_path):
    skip_without_room()
    output = tmp_path / "latency.json"
    show = ("--bundle", tiny_bundle, "--fps", 60)
    done = run(clean_env, "--virtual", "--size", "320x180", "--check", "--seconds", 10, "--json", output, *show)
    assert "Traceback" not in done.stderr
    told = json.loads(output.read_text())
    assert told["check"]["found_ms"] == pytest.approx(200.0, abs=30.0)
    assert done.returncode == 0, done.stderr
    assert told["seen_by"] == "the pixels of the display"
    assert "| **click to picture** |" in done.stdout
    ms = told["ms"]
    assert set(ms) == {"total", *BUDGET}
    assert ms["total"]["p50"] > ms["capture"]["p50"] > 0
    assert ms["generator"]["p50"] > 0
    assert ms["present"]["p50"] > 0


@pytest.mark.soundserver
@pytest.mark.display
def test_this_machines_own_devices_are_measured_too(tiny_bundle, clean_env, tmp_path):
    """By the loudspeaker and the window's swap; the devices of the room stand for a machine's own."""
    skip_without_room()
    for name in ("sound", "screen"):
        (tmp_path / name).mkdir()
    microphone = VirtualMicrophone(tmp_path / "sound")
    display = VirtualDisplay(tmp_path / "screen")
    try:
        microphone.start()
        output = tmp_path / "latency.json"
        env = clean_env | microphone.env | display.env | {"XDG_CACHE_HOME": clean_env["XDG_CACHE_HOME"]}
        done = run(env, "--seconds", 3, "--bundle", tiny_bundle, "--fps", 60, "--json", output)
        assert done.returncode == 0, done.stderr
        told = json.loads(output.read_text())
        assert told["seen_by"] == "the window's swap"
        assert told["seen"] > 0
        assert told["check"] is None
    finally:
        display.stop()
        microphone.stop()


@pytest.mark.parametrize("size", ["1280", "x", "12x12", "-640x480", "640x480x3"])
def test_a_size_that_is_none_is_refused(size, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["latency", f"--size={size}"])
    assert ended.value.code == 2
    assert "such as 1920x1080" in capsys.readouterr().err


def test_the_room_needs_its_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing("pulseaudio", os.path.basename(sys.executable)) == ["pulseaudio", os.path.basename(sys.executable)]
    with pytest.raises(CymaticError, match="pulseaudio, paplay, parec"):
        VirtualMicrophone(tmp_path)
    with pytest.raises(CymaticError, match="Xvfb"):
        VirtualDisplay(tmp_path)


# What a budget is made of


def rows(click_at: float, answer: int = 5, swaps: bool = True, onset_at: float = 0.0) -> list[dict]:
    """Pictures every 20 ms from the click on, of which the `answer`th changes; each is 10 ms in the making."""
    frames, shown = [], []
    for index in range(20):
        started = click_at + 0.020 * index + 0.001
        times = [started - 0.004, started, started + 0.009, started + 0.010, started + 0.011]
        stages = [1.0, float("nan"), float("nan"), 0.5, 6.0]
        change, onset = (3.0, onset_at) if answer <= index < answer + 4 else (0.0, 0.0)
        frames.append([index, *times, change, onset, *stages])
        shown.append([started + 0.015, index])
    return [{"frames": frames[:10], "swaps": []}, {"frames": frames[10:], "swaps": shown if swaps else []}]


@pytest.mark.parametrize(
    ("onset_at", "capture", "wait", "other"),
    [
        (10.070, 70.0, 31.0, 2.5),  # while the picture before was made
        (10.103, 103.0, 0.0, 0.5),  # while this one's encoder ran: it waited for nothing
        (9.5, 97.0, 4.0, 2.5),  # the one before: the newest sound counts
    ],
)
def test_the_parts_of_a_budget_add_up(onset_at, capture, wait, other):
    [budget] = budgets([Click(10.0, 10.0, 10.140)], rows(10.0, onset_at=onset_at))
    assert set(STAGES) >= {"blend", "generator"}
    expected = {
        "capture": capture, "wait": wait, "blend": 0.5, "generator": 6.0, "other": other, "copy": 1.0, "present": 29.0,
    }  # fmt: skip
    assert {name: budget[name] for name in BUDGET} == pytest.approx(expected)
    assert budget["total"] == pytest.approx(140.0) == pytest.approx(sum(budget[name] for name in BUDGET))


def test_without_eyes_on_the_display_the_windows_swap_counts():
    [budget] = budgets([Click(10.0, 10.0, None)], rows(10.0))
    assert budget["present"] == pytest.approx(5.0)
    with pytest.raises(CymaticError, match="0 of 1 clicks"):
        budgets([Click(10.0, 10.0, None)], rows(10.0, swaps=False))


def test_a_click_that_nothing_answers_is_not_given_the_next_ones_picture():
    lost, answered = Click(9.9, 9.9, None), Click(10.0, 10.0, None)
    several = [Click(10.0 + second, 10.0 + second, None) for second in range(1, 5)]
    found = budgets([lost, answered, *several], [row for click in (answered, *several) for row in rows(click.at)])
    assert len(found) == 5
    assert max(budget["total"] for budget in found) == pytest.approx(116.0)


def test_too_many_lost_clicks_are_no_figure():
    with pytest.raises(CymaticError, match=r"1 of 2 clicks were seen.*loudly enough"):
        budgets([Click(10.0, 10.0, None), Click(20.0, 20.0, None)], rows(10.0))
    with pytest.raises(CymaticError, match="0 of 0"):
        budgets([], [])


def test_what_was_added_is_found_and_nothing_else():
    budget = dict.fromkeys(BUDGET, 1.0)
    plain = [{**budget, "added": 0.0, "total": 40.0 + i % 5} for i in range(20)]
    waited = [{**budget, "added": 200.0, "total": 240.0 + i % 5} for i in range(20)]
    held_up = [{**budget, "added": 0.0, "total": 400.0}] * 15
    assert found_more([*plain, *waited, *held_up]) == pytest.approx(200.0, abs=1.0)
    with pytest.raises(CymaticError, match="too few"):
        found_more(plain)
    assert summary(plain)["total"] == {"p50": 42.0, "p95": 44.0, "max": 44.0}


def test_a_picture_that_was_not_at_rest_answers_nothing():
    still_moving = rows(10.0, answer=1)
    still_moving[0]["frames"][0][FRAME.index("change")] = 0.2
    with pytest.raises(CymaticError, match="0 of 1 clicks"):
        budgets([Click(10.0, 10.0, None)], still_moving)
