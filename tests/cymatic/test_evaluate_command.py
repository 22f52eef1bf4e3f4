"""`cymatic evaluate`: the whole of it on the shipped bundle, in small, and one line for what it cannot measure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from cymatic import cli
from engine.bundle import find_bundle, load_bundle, shipped_bundles
from export.bundle import record_evaluation
from training.world.factors import SCENES


@pytest.fixture(autouse=True)
def threads_stay() -> None:
    """`--threads` sets those of torch too; the next test gets back what it had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """One quick evaluation of the shipped bundle, and what it printed."""
    import contextlib
    import io

    path = tmp_path_factory.mktemp("evaluate") / "e.json"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert cli.main(["evaluate", "landscape", "--quick", "--quiet", "--report", str(path), "--threads", "2"]) == 0
    return json.loads(path.read_text(encoding="utf-8")), said.getvalue()


@pytest.mark.skipif("landscape" not in shipped_bundles(), reason="no bundle is shipped")
def test_the_shipped_bundle_paints_what_it_hears(report: tuple[dict, str]) -> None:
    found, _ = report
    assert found["scenes"]["accuracy"]["n"] == len(SCENES)
    assert found["scenes"]["accuracy"]["value"] >= 0.5, "chance is 0.11"
    assert found["scenes"]["world_itself"]["value"] >= 0.8
    assert abs(found["controls"]["shuffled_sound"]["value"] - 1 / 9) < 0.12
    assert found["controls"]["no_sound"]["looks_calm"]["value"] >= 0.5
    assert found["text"]["accuracy"]["value"] >= 0.5


@pytest.mark.skipif("landscape" not in shipped_bundles(), reason="no bundle is shipped")
def test_the_report_holds_every_figure_with_its_number(report: tuple[dict, str]) -> None:
    found, said = report
    parts = {
        "bundle",
        "judges",
        "method",
        "scenes",
        "intensity",
        "onsets",
        "quality",
        "text",
        "blends",
        "controls",
        "bars",
    }
    assert parts <= set(found)
    assert len(found["bundle"]["sha256"]) == 64
    assert found["quality"]["picture"]["kid"]["n"] == len(SCENES)
    assert found["quality"]["films"]["fvd"]["value"] > 0
    assert found["machine"]
    names = [bar["name"] for bar in found["bars"]]
    assert len(names) == len(set(names)) == 8
    for name in names:
        assert name in said
    for row in (found["intensity"]["clips"]["track"], found["onsets"]["painted"], found["blends"]["both"]):
        assert row["n"] > 0
    assert sum(map(sum, found["scenes"]["confusion"]["table"])) == len(SCENES)


@pytest.mark.skipif("landscape" not in shipped_bundles(), reason="no bundle is shipped")
def test_what_was_measured_is_written_into_the_bundle_and_nothing_else_is(
    report: tuple[dict, str], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(find_bundle("landscape"), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "bundle.json"}
    record_evaluation(folder, report[0])
    kept = load_bundle(folder).manifest.provenance["evaluation"]
    assert kept["figures"]["scene accuracy"] == report[0]["scenes"]["accuracy"]["value"]
    assert None not in kept["figures"].values()
    assert kept["judges"] == report[0]["judges"]["sha256"]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "bundle.json"} == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-bundle"], "no bundle 'no-such-bundle'"),
        (["BUNDLE", "--report", "FOLDER/missing/e.json"], "cannot be written"),
        (["BUNDLE", "--report", "FOLDER"], "cannot be written"),
        (["BUNDLE", "--features", "FOLDER/none.onnx"], "no feature network"),
        (["STRANGE"], "only the world's nine can be judged"),
        (["BUNDLE", "--record"], "a trial's figures are not worth keeping"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], told: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "known"
    shutil.copytree(tiny_bundle, known)
    manifest = json.loads((known / "bundle.json").read_text())
    manifest["scenes"] = SCENES
    (known / "bundle.json").write_text(json.dumps(manifest))
    places = {"BUNDLE": str(known), "FOLDER": str(tmp_path), "STRANGE": str(tiny_bundle)}
    words = []
    for word in arguments:
        for name, place in places.items():
            word = word.replace(name, place)
        words.append(word)
    assert cli.main(["evaluate", *words, "--quiet", "--quick"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("cymatic: ")
    assert said.err.count("\n") == 1
    assert told in said.err


@pytest.mark.parametrize("threads", ["0", "-1", "x", "9999"])
def test_threads_that_are_no_number_are_refused(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "--threads", threads])
    assert ended.value.code == 2
    assert "argument --threads" in capsys.readouterr().err


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert cli.main(["evaluate"]) == 2
    assert "pip install 'cymatic[train]'" in capsys.readouterr().err
