"""The one surface the audience sees: OpenGL where there is a context, a plain painter where there is none.

Both surfaces draw a `Picture` and hold it until the next one. Everything here runs on the Qt thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QOpenGLContext,
    QPainter,
    QPaintEvent,
    QRasterWindow,
)
from PySide6.QtOpenGL import (
    QOpenGLBuffer,
    QOpenGLShader,
    QOpenGLShaderProgram,
    QOpenGLTexture,
    QOpenGLVertexArrayObject,
    QOpenGLWindow,
)

log = logging.getLogger(__name__)

SIZINGS = ("fit", "fill", "stretch")

# Platforms that give windows without OpenGL; asking them for a context only prints warnings.
_PLAIN_PLATFORMS = {"offscreen", "minimal", "linuxfb", "vnc"}
# Drivers that draw on the CPU: nine taps a pixel would take the cores from the engine.
_SOFTWARE_DRIVERS = ("llvmpipe", "softpipe", "swrast", "swiftshader", "gdi generic")

_GL_COLOR_BUFFER_BIT, _GL_TRIANGLE_STRIP, _GL_FLOAT, _GL_SCISSOR_TEST = 0x4000, 0x0005, 0x1406, 0x0C11
_GL_RENDERER = 0x1F01


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a surface shows: an image, how bright, and how it fills the window.

    `rgba` uint8 [H, W, 4], contiguous and never written again (the same array is uploaded once); `level` 0..1
    multiplies the colour values; `sizing` is one of `SIZINGS`; `bar` is a white rectangle (x, y, width, height as parts
    of the window, y from the top), the part of the test card that moves.
    """

    rgba: NDArray[np.uint8]
    level: float = 1.0
    sizing: str = "fit"
    bar: tuple[float, float, float, float] | None = None

    def same_as(self, other: Picture | None) -> bool:
        """True when drawing `other` again would change nothing."""
        return (
            other is not None
            and self.rgba is other.rgba
            and (self.level, self.sizing, self.bar) == (other.level, other.sizing, other.bar)
        )


def placement(image: tuple[int, int], window: tuple[float, float], sizing: str) -> tuple[float, float, float, float]:
    """Where an image of (width, height) lies in a window of (width, height): x, y, width, height.

    "fit" shows all of it, "fill" leaves no border, "stretch" ignores its shape.
    """
    (width, height), (across, down) = image, window
    if sizing == "stretch":
        return 0.0, 0.0, across, down
    choose = max if sizing == "fill" else min
    scale = choose(across / width, down / height)
    return (across - width * scale) / 2, (down - height * scale) / 2, width * scale, height * scale


_VERTEX = """
attribute vec2 corner;
varying vec2 uv;
void main() {
    uv = vec2(0.5 + 0.5 * corner.x, 0.5 - 0.5 * corner.y);
    gl_Position = vec4(corner, 0.0, 1.0);
}
"""

_LINEAR = """
varying vec2 uv;
uniform sampler2D image;
uniform float level;
void main() { gl_FragColor = vec4(texture2D(image, uv).rgb * level, 1.0); }
"""

# Catmull-Rom, 16 texels in nine bilinear taps: the two inner weights of each axis are read with one tap between them.
_BICUBIC = """
varying vec2 uv;
uniform sampler2D image;
uniform vec2 size;
uniform float level;
vec3 tap(float x, float y) { return texture2D(image, vec2(x, y)).rgb; }
void main() {
    vec2 p = uv * size;
    vec2 c = floor(p - 0.5) + 0.5;
    vec2 f = p - c;
    vec2 w0 = f * (-0.5 + f * (1.0 - 0.5 * f));
    vec2 w1 = 1.0 + f * f * (-2.5 + 1.5 * f);
    vec2 w2 = f * (0.5 + f * (2.0 - 1.5 * f));
    vec2 w3 = f * f * (-0.5 + 0.5 * f);
    vec2 w = w1 + w2;
    vec2 a = (c - 1.0) / size;
    vec2 b = (c + w2 / w) / size;
    vec2 d = (c + 2.0) / size;
    vec3 sum = (tap(a.x, a.y) * w0.x + tap(b.x, a.y) * w.x + tap(d.x, a.y) * w3.x) * w0.y
             + (tap(a.x, b.y) * w0.x + tap(b.x, b.y) * w.x + tap(d.x, b.y) * w3.x) * w.y
             + (tap(a.x, d.y) * w0.x + tap(b.x, d.y) * w.x + tap(d.x, d.y) * w3.x) * w3.y;
    gl_FragColor = vec4(clamp(sum, 0.0, 1.0) * level, 1.0);
}
"""


def _dialect(context: QOpenGLContext, source: str, *, fragment: bool) -> str:
    """The GLSL 1.20 source in the dialect of the context: 1.00 for OpenGL ES, 1.50 for a core profile."""
    if context.isOpenGLES():
        highp = "#ifdef GL_FRAGMENT_PRECISION_HIGH\nprecision highp float;\n#else\nprecision mediump float;\n#endif\n"
        return "#version 100\n" + (highp if fragment else "") + source
    if context.format().profile() == context.format().OpenGLContextProfile.CoreProfile:
        renamed = source.replace("texture2D(", "texture(").replace("gl_FragColor", "colour")
        renamed = renamed.replace("attribute ", "in ").replace("varying ", "in " if fragment else "out ")
        return "#version 150\n" + ("out vec4 colour;\n" if fragment else "") + renamed
    return "#version 120\n" + source


class _SurfaceEvents:
    """What both surfaces do with window events: keys go to one handler, closing is only asked for."""

    on_key: Callable[[QKeyEvent], None] | None = None
    on_double_click: Callable[[], None] | None = None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self.on_key is not None:
            self.on_key(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self.on_double_click is not None:
            self.on_double_click()

    def closeEvent(self, event: QCloseEvent) -> None:
        # The picture stays until the run is torn down in order; the owner hears the wish and ends the run.
        event.ignore()
        self.closed.emit()  # type: ignore[attr-defined]


class GlSurface(_SurfaceEvents, QOpenGLWindow):
    """Draws the picture as one textured quad: Catmull-Rom where a GPU draws, bilinear on software drivers.

    `frameSwapped` (from Qt) comes after every picture that reached the screen.
    """

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._uploaded: NDArray[np.uint8] | None = None
        self._texture: QOpenGLTexture | None = None
        self._program: QOpenGLShaderProgram | None = None
        self._corners: QOpenGLBuffer | None = None
        self._vertices: QOpenGLVertexArrayObject | None = None
        self._gl: Any = None
        self.renderer = ""

    def show_picture(self, picture: Picture) -> None:
        """Takes the next picture; it is drawn with the next repaint."""
        self._picture = picture
        self.update()

    def initializeGL(self) -> None:
        context = self.context()
        self._gl = context.functions()
        self.renderer = str(self._gl.glGetString(_GL_RENDERER))
        software = any(name in self.renderer.lower() for name in _SOFTWARE_DRIVERS)
        self._program = self._build(_LINEAR if software else _BICUBIC) or self._build(_LINEAR)
        if self._program is None:
            log.error("the driver %s compiles no shader: the output stays black", self.renderer)
            return
        log.info("output surface: OpenGL %s, %s", self.renderer, "bilinear" if software else "bicubic")
        self._vertices = QOpenGLVertexArrayObject()
        if self._vertices.create():  # optional before OpenGL 3
            self._vertices.bind()
        corners = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32).tobytes()
        self._corners = QOpenGLBuffer(QOpenGLBuffer.Type.VertexBuffer)
        self._corners.create()
        self._corners.bind()
        self._corners.allocate(corners, len(corners))
        self._corners.release()
        if self._vertices.isCreated():
            self._vertices.release()

    def _build(self, fragment: str) -> QOpenGLShaderProgram | None:
        program = QOpenGLShaderProgram()
        kinds = QOpenGLShader.ShaderTypeBit
        built = (
            program.addShaderFromSourceCode(kinds.Vertex, _dialect(self.context(), _VERTEX, fragment=False))
            and program.addShaderFromSourceCode(kinds.Fragment, _dialect(self.context(), fragment, fragment=True))
            and program.link()
        )
        if not built:
            log.warning("shader refused by %s: %s", self.renderer, program.log().strip())
        return program if built else None

    def paintGL(self) -> None:
        gl, picture = self._gl, self._picture
        ratio = self.devicePixelRatio()
        across, down = self.width() * ratio, self.height() * ratio
        gl.glViewport(0, 0, round(across), round(down))
        gl.glClearColor(0.0, 0.0, 0.0, 1.0)
        gl.glClear(_GL_COLOR_BUFFER_BIT)
        program, corners = self._program, self._corners
        if picture is None or program is None or corners is None:
            return
        if picture.level > 0.0:
            height, width = picture.rgba.shape[:2]
            texture = self._upload(picture.rgba)
            x, y, w, h = placement((width, height), (across, down), picture.sizing)
            gl.glViewport(round(x), round(down - y - h), round(w), round(h))
            self._draw_quad(program, corners, texture, picture.level)
        if picture.bar is not None:
            x, y, w, h = picture.bar
            gl.glEnable(_GL_SCISSOR_TEST)
            size = max(1, round(w * across)), max(1, round(h * down))
            gl.glScissor(round(x * across), round((1.0 - y - h) * down), *size)
            gl.glClearColor(picture.level, picture.level, picture.level, 1.0)
            gl.glClear(_GL_COLOR_BUFFER_BIT)
            gl.glDisable(_GL_SCISSOR_TEST)

    def _draw_quad(
        self, program: QOpenGLShaderProgram, corners: QOpenGLBuffer, texture: QOpenGLTexture, level: float
    ) -> None:
        vertices = self._vertices
        if vertices is not None and vertices.isCreated():
            vertices.bind()
        program.bind()
        texture.bind(0)
        program.setUniformValue1i(program.uniformLocation("image"), 0)
        program.setUniformValue1f(program.uniformLocation("level"), level)
        if (size := program.uniformLocation("size")) >= 0:
            program.setUniformValue(size, float(texture.width()), float(texture.height()))
        corner = program.attributeLocation("corner")
        corners.bind()
        program.enableAttributeArray(corner)
        program.setAttributeBuffer(corner, _GL_FLOAT, 0, 2, 0)
        self._gl.glDrawArrays(_GL_TRIANGLE_STRIP, 0, 4)
        program.disableAttributeArray(corner)
        corners.release()
        texture.release()
        program.release()
        if vertices is not None and vertices.isCreated():
            vertices.release()

    def _upload(self, rgba: NDArray[np.uint8]) -> QOpenGLTexture:
        height, width = rgba.shape[:2]
        texture = self._texture
        if texture is not None and rgba is self._uploaded:
            return texture
        if texture is None or (texture.width(), texture.height()) != (width, height):
            if texture is not None:
                texture.destroy()
            texture = QOpenGLTexture(QOpenGLTexture.Target.Target2D)
            texture.setFormat(QOpenGLTexture.TextureFormat.RGBA8_UNorm)
            texture.setSize(width, height)
            texture.setMipLevels(1)
            texture.allocateStorage(QOpenGLTexture.PixelFormat.RGBA, QOpenGLTexture.PixelType.UInt8)
            texture.setMinMagFilters(QOpenGLTexture.Filter.Linear, QOpenGLTexture.Filter.Linear)
            texture.setWrapMode(QOpenGLTexture.WrapMode.ClampToEdge)
            self._texture = texture
        texture.setData(QOpenGLTexture.PixelFormat.RGBA, QOpenGLTexture.PixelType.UInt8, rgba)
        self._uploaded = rgba
        return texture

    def release(self) -> None:
        """Frees every OpenGL object while the context still lives, then hides the window for good."""
        if self._gl is not None:
            self.makeCurrent()
            if self._texture is not None:
                self._texture.destroy()
            if self._corners is not None:
                self._corners.destroy()
            if self._vertices is not None and self._vertices.isCreated():
                self._vertices.destroy()
            if self._program is not None:
                self._program.removeAllShaders()
            self._texture = self._program = self._corners = self._vertices = self._gl = None
            self.doneCurrent()
        self.destroy()


class RasterSurface(_SurfaceEvents, QRasterWindow):
    """The same picture with a plain painter; `frameSwapped` comes after every repaint."""

    closed = Signal()
    frameSwapped = Signal()
    renderer = "painter"

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None

    def show_picture(self, picture: Picture) -> None:
        """Takes the next picture; it is drawn with the next repaint."""
        self._picture = picture
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        across, down = self.width(), self.height()
        painter.fillRect(0, 0, across, down, Qt.GlobalColor.black)
        if (picture := self._picture) is not None:
            height, width = picture.rgba.shape[:2]
            painter.setOpacity(picture.level)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            target = QRectF(*placement((width, height), (across, down), picture.sizing))
            painter.drawImage(target, as_image(picture.rgba))
            if picture.bar is not None:
                x, y, w, h = picture.bar
                painter.fillRect(QRectF(x * across, y * down, max(1.0, w * across), h * down), QColor("white"))
        painter.end()
        self.frameSwapped.emit()

    def release(self) -> None:
        """Hides the window for good."""
        self.destroy()


def as_image(rgba: NDArray[np.uint8]) -> QImage:
    """A view of uint8 [H, W, 4] as a QImage without copying; the array must outlive it."""
    height, width = rgba.shape[:2]
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBX8888)


def open_surface() -> GlSurface | RasterSurface:
    """The best surface this display offers. The application must exist."""
    if QGuiApplication.platformName() not in _PLAIN_PLATFORMS and QOpenGLContext().create():
        return GlSurface()
    log.warning("no OpenGL on the display platform %s: drawing without vsync", QGuiApplication.platformName())
    return RasterSurface()
