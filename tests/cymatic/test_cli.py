"""The command line itself: lazy, one line for an error, exit code 2."""

from __future__ import annotations

import subprocess
import sys

import pytest
from live_process import ROOT

from cymatic import cli
from engine.errors import AudioError


def test_an_error_of_ours_is_one_line_and_exit_code_2(monkeypatch, capsys):
    from cymatic import devices

    def fail(args):
        raise AudioError("no sound here: plug something in")

    monkeypatch.setattr(devices, "run", fail)
    assert cli.main(["devices"]) == 2
    assert capsys.readouterr().err == "cymatic: no sound here: plug something in\n"


def test_other_errors_are_not_hidden(monkeypatch):
    from cymatic import devices

    monkeypatch.setattr(devices, "run", lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["devices"])


def test_a_reader_who_has_seen_enough_is_no_error():
    code = (
        "import sys\nfrom cymatic import cli, devices\n"
        "devices.run = lambda args: [print('x' * 100_000) for _ in range(100)] and 0\n"
        "sys.exit(cli.main(['devices']))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with writer:
        assert writer.stdout.read(10) == b"x" * 10
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 0


@pytest.mark.parametrize("arguments", [[], ["dance"], ["live", "--seconds", "-1"], ["live", "--fps", "nan"]])
def test_what_cannot_be_understood_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: cymatic" in capsys.readouterr().err


def test_every_command_is_listed_and_none_is_imported():
    code = (
        "import sys\nfrom cymatic.cli import COMMANDS, main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in COMMANDS if 'cymatic.' + name in sys.modules], *COMMANDS)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("[] ")
    for name in last.split()[1:]:
        assert f" {name} " in done.stdout
