"""The report's numbers and its files, without a show."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from cymatic import report
from cymatic.report import OutputFile, Recorder, as_json
from engine.control.desk import Desk
from engine.errors import CymaticError
from engine.slot import Frame


@pytest.fixture
def stage(tmp_path):
    manifest = SimpleNamespace(name="tiny", image=SimpleNamespace(height=9, width=16))
    return SimpleNamespace(
        bundle=SimpleNamespace(manifest=manifest, folder=tmp_path),
        status={"state": "loading"},
        late_frames=2,
        controls_received=7,
        desk=Desk(),
        events=[],
    )


def frame(index: int, work_ms: float = 10.0, age_ms: float = 30.0, encoder_ms: float = np.nan) -> Frame:
    published = 1000.0 + index / 50
    return Frame(
        index=index,
        rgba=np.zeros((9, 16, 4), np.uint8),
        captured_at=published - age_ms / 1000,
        started_at=published - work_ms / 1000,
        written_at=published - 0.001,
        published_at=published,
        stats=(0.5, encoder_ms, np.nan, 2.0, 5.0),
    )


def test_times_are_those_of_the_pictures(stage):
    recorder = Recorder(stage)
    for index in range(11, 112):
        recorder.take(frame(index, work_ms=index - 10, encoder_ms=3.0 if index % 2 else np.nan))
    told = recorder.report()
    assert told["frames"] == 101
    assert told["seconds"] == pytest.approx(2.0)
    assert told["fps"] == pytest.approx(50.0)
    assert told["frame_ms"] == pytest.approx({"p50": 51, "p95": 96, "p99": 100, "max": 101}, abs=0.01)
    assert told["audio_to_frame_ms"]["max"] == pytest.approx(30.0, abs=0.01)
    expected = {"mel": 0.5, "encoder": 3.0, "recurrent": 0.0, "blend": 2.0, "generator": 5.0, "publish": 1.0}
    assert told["stages_ms"] == pytest.approx(expected, abs=0.01)
    assert (told["late_frames"], told["controls_received"]) == (2, 7)


def test_clocks_of_those_who_stamp_bundles_are_told(stage):
    stage.desk.compare_clock("10.0.0.7", 0.2004)
    assert Recorder(stage).report()["clock_offsets_s"] == {"10.0.0.7": 0.2}


def test_pictures_that_were_not_looked_at_count_too(stage):
    recorder = Recorder(stage)
    for index in (1, 4, 5, 9):
        recorder.take(frame(index))
    assert recorder.report()["frames"] == 9
    assert recorder.report()["fps"] == pytest.approx(50.0)


def test_a_show_without_a_picture_has_the_same_keys(stage):
    empty = Recorder(stage).report()
    recorder = Recorder(stage)
    recorder.take(frame(1))
    assert set(empty) == set(recorder.report())
    assert empty["frames"] == empty["fps"] == 0
    assert json.loads(as_json(empty)) == empty


def test_a_long_show_keeps_its_size_and_its_maximum(stage, monkeypatch):
    monkeypatch.setattr(report, "WINDOW", 10)
    recorder = Recorder(stage)
    recorder.take(frame(1, work_ms=500.0))
    for index in range(2, 40):
        recorder.take(frame(index))
    told = recorder.report()
    assert told["frame_ms"]["p99"] == pytest.approx(10.0, abs=0.01)
    assert told["frame_ms"]["max"] == pytest.approx(500.0, abs=0.01)


def test_an_output_is_written_whole_and_nothing_before(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")
    output = OutputFile(path)
    assert path.read_text() == "old"
    output.write(b"new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(CymaticError, match="it is a folder"):
        OutputFile(tmp_path)
    with pytest.raises(CymaticError, match="No such file"):
        OutputFile(tmp_path / "no" / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanishes_meanwhile_is_an_error_and_no_traceback(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    output = OutputFile(folder / "r.json")
    folder.rmdir()
    with pytest.raises(CymaticError, match=r"cannot write .*r\.json"):
        output.write(b"{}")
