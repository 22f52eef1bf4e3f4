"""What moves the picture: the loop of encoder and recurrent step, the blend of preset, sound and text, the fields."""

from engine.latents.blend import SlowLevel, blend, pulse
from engine.latents.fields import FieldFlow
from engine.latents.loop import LatentLoop

__all__ = ["FieldFlow", "LatentLoop", "SlowLevel", "blend", "pulse"]
