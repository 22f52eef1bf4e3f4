"""The page of diagnostics: the show as it runs, and what `cymatic doctor` finds on this machine.

The doctor runs as a process of its own: it looks at devices and displays for seconds, its PortAudio sees what was
plugged in meanwhile, and the windows import nothing of the command line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollArea, QWidget

from gui import style
from gui.activity import clocks
from gui.errand import Errand
from gui.pages import Page
from gui.widgets import Button, heading, say, text

if TYPE_CHECKING:
    from engine.view import StageView

DOCTOR = (sys.executable, "-m", "cymatic", "doctor", "--json")
OURS = ("osc port",)
"""Parts that a show itself takes up, so that the doctor cannot judge them meanwhile."""
ROLES = {"ok": ("●", "good"), "missing": ("○", "accent"), "broken": ("●", "error")}
DOCTOR_S = 45.0  # its own deadlines for sound and display are shorter
LATE = "The doctor does not come to an end"
LINES = 6  # of what was told to the performer
LEAST, MOST = 120, 600  # height of the findings
FACTS = {
    "engine": "engine",
    "runtime": "runs in",
    "stages": "takes",
    "sound": "hears",
    "controls": "controls",
    "memory": "memory",
    "told": "last lines",
}
"""What is told of the show, and what it is called."""


class DiagnosticsPage(Page):
    """Opened, it asks the doctor; closed, it costs nothing. `stop` before the application ends."""

    def __init__(
        self, parent: QWidget, stage: StageView, command: Sequence[str] = DOCTOR, seconds: float = DOCTOR_S
    ) -> None:
        super().__init__(parent, "Diagnostics")
        self._stage = stage
        self.errand = Errand(self, command, seconds, LATE, self._told)
        self.again = Button("Look again", "plain")
        self.again.clicked.connect(self.examine)
        self.head.insertWidget(self.head.count() - 1, self.again)
        self.facts: dict[str, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(style.px(18))
        grid.setVerticalSpacing(style.px(3))
        for number, (name, words) in enumerate(FACTS.items()):
            grid.addWidget(text(words, style.BODY, "muted"), number, 0, Qt.AlignmentFlag.AlignTop)
            self.facts[name] = text("", style.BODY, "figure")
            grid.addWidget(self.facts[name], number, 1)
        grid.setColumnStretch(1, 1)
        self.body.addSpacing(style.px(2))
        self.body.addWidget(heading("This show"))
        self.body.addLayout(grid)
        self.body.addSpacing(style.px(8))
        self.body.addWidget(heading("This machine"))
        self.waiting = text("", style.BODY, "muted")
        self.body.addWidget(self.waiting)
        self.findings = QGridLayout()
        self.findings.setHorizontalSpacing(style.px(12))
        self.findings.setVerticalSpacing(style.px(4))
        self.findings.setContentsMargins(0, 0, style.px(8), 0)
        self.findings.setColumnStretch(2, 1)
        inside, self._scroll = QWidget(), QScrollArea()
        inside.setLayout(self.findings)
        self._scroll.setWidgetResizable(True)
        self._scroll.setWidget(inside)
        self._scroll.setFixedHeight(style.px(LEAST))
        self.body.addWidget(self._scroll, 1)
        self.sheet.setMinimumWidth(style.px(860))

    def open(self) -> None:
        """Shows the page and asks the doctor."""
        super().open()
        self.refresh()
        self.examine()

    def cover(self) -> None:
        """Lies over the whole of its window; the findings take the room that it has."""
        super().cover()
        others = self.sheet.sizeHint().height() - self._scroll.minimumHeight()
        room = self.height() - style.px(2 * 24) - others
        self._scroll.setFixedHeight(min(max(room, style.px(LEAST)), style.px(MOST)))

    def refresh(self) -> None:
        """Shows how the show is doing now."""
        for name, line in facts(self._stage).items():
            if self.facts[name].text() != line:
                self.facts[name].setText(line)

    def examine(self) -> None:
        """Asks the doctor; one who still looks is sent away."""
        say(self.waiting, "The doctor is looking…", "muted")
        self.waiting.show()
        self.errand.begin()

    def stop(self) -> None:
        """Ends the doctor if it is still looking. Safe to call twice."""
        self.errand.stop()

    def _told(self, told: bytes, wrong: str) -> None:
        try:
            self._show([finding for finding in json.loads(told) if finding["part"] not in OURS])
            wrong = ""
        except (ValueError, TypeError, KeyError):
            wrong = wrong or "The doctor told nothing"
        say(self.waiting, wrong, "error")
        self.waiting.setVisible(bool(wrong))

    def _show(self, findings: Sequence[Mapping[str, str]]) -> None:
        while (item := self.findings.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        row = 0
        for finding in findings:
            sign, role = ROLES[finding["state"]]
            top = Qt.AlignmentFlag.AlignTop
            self.findings.addWidget(text(sign, style.BODY, role), row, 0, top)
            self.findings.addWidget(text(finding["part"], style.BODY, "muted"), row, 1, top)
            found = text(finding["found"], style.BODY, "error" if role == "error" else "figure")
            found.setWordWrap(True)
            self.findings.addWidget(found, row, 2)
            row += 1
            if finding.get("advice"):
                advice = text(f"→ {finding['advice']}", style.BODY, "accent")
                advice.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                advice.setWordWrap(True)
                self.findings.addWidget(advice, row, 2)
                row += 1
        self.findings.setRowStretch(row, 1)


def facts(stage: StageView) -> dict[str, str]:
    """The show as it runs, a line or a few for each of its parts."""
    status: Mapping[str, Any] = stage.status
    audio = status.get("audio") or {}
    stages = {name: f"{name} {ms:.1f}" for name, ms in (status.get("stages_ms") or {}).items()}
    runtimes = {f"{graph['name']} {graph['precision']}": [] for graph in (status.get("runtime") or {}).values()}
    for name, graph in (status.get("runtime") or {}).items():
        runtimes[f"{graph['name']} {graph['precision']}"].append(name)
    counters = stage.desk.counters
    parts = [f"{audio.get('device', 'none yet')}, {audio.get('state', '')}".rstrip(", ")]
    if channel := round(float(stage.desk.get("sound/channel"))):
        parts.append(f"channel {channel}")
    parts += [f"{audio[key]} {key}" for key in ("sample_rate", "channels", "gaps") if key in audio]
    return {
        "engine": f"{status.get('state')}, {status.get('frames', 0)} frames, {status.get('late_frames', 0)} late, "
        f"{status.get('errors', 0)} errors" + (f": {status['error']}" if status.get("error") else ""),
        "runtime": "; ".join(f"{what}: {', '.join(names)}" for what, names in runtimes.items()) or "not yet",
        "stages": f"{', '.join(stages.values())} milliseconds" if stages else "not yet",
        "sound": ", ".join(parts).replace("sample_rate", "Hz"),
        "controls": f"{counters['received']} received, {counters['clamped']} clamped, {counters['refused']} refused; "
        + "\n".join([", ".join(stage.inputs), *clocks(stage.desk)]),
        "memory": f"engine {status['rss_mib']:.0f} MiB" if "rss_mib" in status else "not yet",
        "told": "\n".join(stage.errors[-LINES:]) or "nothing",
    }
