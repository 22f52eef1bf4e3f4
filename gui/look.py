"""The look in OpenGL: one pass over the picture at its own size, before it is scaled to the display.

It draws into one of two frame buffers and reads what it drew before from the other: that is where trails come from.
What it computes, `engine.look` says.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QMatrix3x3
from PySide6.QtOpenGL import QOpenGLFramebufferObject, QOpenGLFramebufferObjectFormat

from engine.look import LOSS, MIRRORS, Look, LookState
from gui.shaders import LOOK, Quad, build

log = logging.getLogger(__name__)

_GL_TEXTURE_2D, _GL_TEXTURE0 = 0x0DE1, 0x84C0
_GL_TEXTURE_MAG_FILTER, _GL_TEXTURE_MIN_FILTER, _GL_LINEAR = 0x2800, 0x2801, 0x2601
# Half floats keep long trails smooth. What is lost each time is the step of the format where its rounding would hold
# a trail for ever.
_FORMATS = ((0x881A, LOSS), (0x8058, 1.0 / 255.0))  # RGBA16F, RGBA8


class LookPass:
    """Made, drawn and freed on the Qt thread while the context of the surface is current."""

    def __init__(self, gl: Any, quad: Quad, *, bicubic: bool, driver: str) -> None:
        self._gl, self._quad = gl, quad
        self._program = build(LOOK, bicubic=bicubic, driver=driver) or build(LOOK, bicubic=False, driver=driver)
        self._buffers: list[QOpenGLFramebufferObject] = []
        self._loss = 0.0
        self._state = LookState()

    @property
    def works(self) -> bool:
        """False where the driver refuses the shader: every look is neutral then."""
        return self._program is not None

    def draw(self, texture: int, rgba: NDArray[np.uint8], look: Look, now: float) -> int:
        """The texture, of the same size, that shows `rgba` `[H, W, 4]`, which is in `texture`, under the look at time
        `now` (s); the given one where the look is neutral. The frame buffer of the surface has to be bound after it.
        """
        program, gl = self._program, self._gl
        if look.neutral or program is None:
            self._state.forget()
            return texture
        height, width = rgba.shape[:2]
        if not self._buffers or (self._buffers[0].width(), self._buffers[0].height()) != (width, height):
            self._begin(width, height)
            self._state.forget()
        step = self._state.step(look, now)
        before, buffer = self._buffers
        buffer.bind()
        gl.glViewport(0, 0, width, height)
        program.bind()
        for unit, (name, held) in enumerate((("last", before.texture()), ("image", texture))):
            gl.glActiveTexture(_GL_TEXTURE0 + 1 - unit)  # the first unit last, as others expect it
            gl.glBindTexture(_GL_TEXTURE_2D, held)
            program.setUniformValue1i(program.uniformLocation(name), 1 - unit)
        for name, value in {
            "upright": -1.0,
            "contrast": look.contrast,
            "keep": step.keep,
            "loss": self._loss,
            "growth": step.growth,
        }.items():
            program.setUniformValue1f(program.uniformLocation(name), value)
        program.setUniformValue1i(program.uniformLocation("mirror"), MIRRORS.index(look.mirror))
        program.setUniformValue(program.uniformLocation("size"), float(width), float(height))
        program.setUniformValue(program.uniformLocation("colours"), QMatrix3x3(look.colours.flatten().tolist()))
        self._quad.draw(gl, program)
        program.release()
        gl.glActiveTexture(_GL_TEXTURE0 + 1)
        gl.glBindTexture(_GL_TEXTURE_2D, 0)
        gl.glActiveTexture(_GL_TEXTURE0)
        gl.glBindTexture(_GL_TEXTURE_2D, 0)
        self._buffers = [buffer, before]
        return int(buffer.texture())

    def _begin(self, width: int, height: int) -> None:
        """Two buffers of this size, black, in the first format that the driver takes."""
        self._buffers = []
        for internal, self._loss in _FORMATS:
            wanted = QOpenGLFramebufferObjectFormat()
            wanted.setInternalTextureFormat(internal)
            self._buffers = [QOpenGLFramebufferObject(width, height, wanted) for _ in range(2)]
            if all(buffer.isValid() for buffer in self._buffers):
                break
        for buffer in self._buffers:
            buffer.bind()
            self._gl.glClearColor(0.0, 0.0, 0.0, 1.0)
            self._gl.glClear(0x4000)
            self._gl.glBindTexture(_GL_TEXTURE_2D, buffer.texture())
            for which in (_GL_TEXTURE_MIN_FILTER, _GL_TEXTURE_MAG_FILTER):
                self._gl.glTexParameteri(_GL_TEXTURE_2D, which, _GL_LINEAR)
        self._gl.glBindTexture(_GL_TEXTURE_2D, 0)

    def release(self) -> None:
        """Frees what the context holds."""
        self._buffers = []
        if self._program is not None:
            self._program.removeAllShaders()
        self._program = None
