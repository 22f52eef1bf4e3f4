"""What stands on the display, kept on the graphics card while a picture that would flash is mixed into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QSize
from PySide6.QtOpenGL import QOpenGLFramebufferObject, QOpenGLShaderProgram

from gui.shaders import Quad

_GL_TEXTURE_2D, _GL_BLEND = 0x0DE1, 0x0BE2
_GL_CONSTANT_ALPHA, _GL_ONE_MINUS_CONSTANT_ALPHA = 0x8003, 0x8004


class Hold:
    """Made, used and freed on the Qt thread while the context of the surface is current.

    `program`: the one that shows a picture as it is (`gui.shaders.SHOW`). It has nothing to do, and holds no memory,
    while pictures are shown whole.
    """

    def __init__(self, gl: Any, quad: Quad, program: QOpenGLShaderProgram) -> None:
        self._gl, self._quad, self._program = gl, quad, program
        self._buffers: list[QOpenGLFramebufferObject] = []

    def begin(self, room: tuple[int, int], stands: Callable[[], None]) -> None:
        """Before the next picture is uploaded: `stands` draws what stands on the display of (width, height) = `room`,
        unless that is held already."""
        if not self._buffers or self._buffers[0].size() != QSize(*room):
            self._buffers = [QOpenGLFramebufferObject(*room) for _ in range(2)]
            self._buffers[0].bind()
            stands()

    def mix(self, share: float, comes: Callable[[], None]) -> None:
        """Mixes `share` of what `comes` draws with what is held, and shows it; that is held from now on."""
        held, new = self._buffers
        new.bind()
        comes()
        held.bind()
        self._gl.glEnable(_GL_BLEND)
        self._gl.glBlendColor(0.0, 0.0, 0.0, share)
        self._gl.glBlendFunc(_GL_CONSTANT_ALPHA, _GL_ONE_MINUS_CONSTANT_ALPHA)
        self._draw(new)
        self._gl.glDisable(_GL_BLEND)
        QOpenGLFramebufferObject.bindDefault()
        self._draw(held)

    def end(self) -> None:
        """The picture is shown whole again."""
        self._buffers = []

    def _draw(self, buffer: QOpenGLFramebufferObject) -> None:
        program, width, height = self._program, buffer.width(), buffer.height()
        self._gl.glViewport(0, 0, width, height)
        program.bind()
        self._gl.glBindTexture(_GL_TEXTURE_2D, buffer.texture())
        program.setUniformValue1i(program.uniformLocation("image"), 0)
        for name, value in {"upright": -1.0, "level": 1.0}.items():
            program.setUniformValue1f(program.uniformLocation(name), value)
        program.setUniformValue(program.uniformLocation("size"), float(width), float(height))
        self._quad.draw(self._gl, program)
        self._gl.glBindTexture(_GL_TEXTURE_2D, 0)
        program.release()
