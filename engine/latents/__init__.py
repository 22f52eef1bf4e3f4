"""What moves the picture: the loop of encoder and recurrent step, the blend of preset, sound and text."""

from engine.latents.blend import SlowLevel, blend, pulse
from engine.latents.loop import LatentLoop

__all__ = ["LatentLoop", "SlowLevel", "blend", "pulse"]
