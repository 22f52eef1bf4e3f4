"""Files that ask for more than tensors: each is refused in one line, with nothing run and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_files import stylegan2_tensors, write_nvidia, write_safetensors
from hostile_files import WITNESS, call, corpus, plain, text

from cymatic import cli
from engine.errors import CheckpointRefused
from export.foreign.checkpoint import open_checkpoint

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = corpus()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What became of every file, read by a process that Python's own audit watches."""
    folder = tmp_path_factory.mktemp("hostile")
    files, work = folder / "files", folder / "work"
    files.mkdir()
    work.mkdir()
    write_safetensors(files / "0000", stylegan2_tensors())
    write_nvidia(files / "0001", stylegan2_tensors(), source=f"import os\nos.mkdir({WITNESS!r})")
    for number, (_, data, _) in enumerate(CORPUS, 2):
        (files / f"{number:04}").write_bytes(data)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, HERE / "read_watched.py", files],
        cwd=work,
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(work.iterdir()) == [], "nothing is written"
    assert len(list(files.iterdir())) == len(CORPUS) + 2
    found = {row["file"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert len(found) == len(CORPUS) + 2
    return found


@pytest.mark.parametrize(
    ("number", "part"), [(i, row[2]) for i, row in enumerate(CORPUS, 2)], ids=[r[0] for r in CORPUS]
)
def test_it_is_refused_and_nothing_happens(told: dict[str, dict], number: int, part: str) -> None:
    row = told[f"{number:04}"]
    assert row["refused"] is not None
    assert part in row["refused"]
    assert "\n" not in row["refused"]
    assert row["events"] == []


def test_true_files_are_read_and_the_source_inside_never_runs(told: dict[str, dict]) -> None:
    assert told["0000"] == {"file": "0000", "refused": None, "events": []}
    assert told["0001"] == {"file": "0001", "refused": None, "events": []}


def test_the_watch_would_see_it(tmp_path: Path) -> None:
    code = "import read_watched, sys; sys.addaudithook(read_watched.watch); import colorsys; open('x', 'w').close(); "
    code += 'exec(\'import os; os.mkdir("y"); os.system("true")\'); print(read_watched.events)'
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200
    )
    for event in ("import ('colorsys'", "open ('x'", "exec (", "os.mkdir", "os.system"):
        assert event in done.stdout


def test_a_refusal_names_the_opcode_and_its_byte(tmp_path: Path) -> None:
    data = plain(call("os", "system", text("true")))
    (tmp_path / "x.pkl").write_bytes(data)
    at = data.index(b"cos\n")
    with pytest.raises(CheckpointRefused, match=rf"x\.pkl: GLOBAL at byte {at} names 'os\.system', which no"):
        open_checkpoint(tmp_path / "x.pkl").__enter__()


@pytest.mark.parametrize("made", ["a pickle", "a folder", "nothing"])
def test_the_command_line_says_one_line_and_leaves_no_trace(
    made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pkl"
    if made == "a pickle":
        path.write_bytes(plain(call("os", "mkdir", text(str(tmp_path / WITNESS)))))
    elif made == "a folder":
        path.mkdir()
    before = sorted(tmp_path.iterdir())
    assert cli.main(["import", str(path), str(tmp_path / "deep" / "out"), "--quiet"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"cymatic: {path}: ")
    assert line.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
