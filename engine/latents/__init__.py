"""What moves the picture: the loop of encoder and recurrent step, the blend of preset, sound and text; and which of the
bundle's scenes is heard."""

from engine.latents.blend import SlowLevel, blend, pulse
from engine.latents.loop import LatentLoop
from engine.latents.scenes import SceneReader

__all__ = ["LatentLoop", "SceneReader", "SlowLevel", "blend", "pulse"]
