"""How the show is doing, for those who subscribed by OSC: the keys of `engine.control.osc.STATUS_KEYS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cymatic.stage import Stage

__all__ = ["briefing"]


def briefing(stage: Stage) -> dict[str, float | bool | str]:
    """What the stage would tell now."""
    status, audio = stage.status, stage.status.get("audio", {})
    recording = stage.recording or {}
    return {
        "fps": round(stage.fps, 1),
        "late": stage.late_frames,
        "quality": str(status.get("quality") or ""),
        "audio/rms": float(status.get("rms_db", -120.0)),
        "audio/clip": bool(status.get("clip", False)),
        "audio/state": str(audio.get("state", "")),
        **stage.tempo,
        "record/seconds": round(recording.get("seconds", 0.0), 1),
        "record/dropped": int(recording.get("dropped", 0)),
        "loading": status.get("state") == "loading",
        "error": str(status.get("error") or ""),
    }
