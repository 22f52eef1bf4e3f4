"""The one surface the audience sees: OpenGL where there is a context, a plain painter where there is none.

Both surfaces draw a `Picture` and hold it until the next one, and both hold back what would flash (`engine.watch`), by
mixing it with what stands on the display. Everything here runs on the Qt thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QCoreApplication, QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QRasterWindow,
)
from PySide6.QtOpenGL import QOpenGLFramebufferObject, QOpenGLShaderProgram, QOpenGLTexture, QOpenGLWindow

from engine.flash import Part
from engine.look import NEUTRAL, Look
from engine.watch import Watch
from gui.hold import Hold
from gui.look import LookPass
from gui.shaders import FINISH, SHOW, Quad, build, refusal

log = logging.getLogger(__name__)

SIZINGS = ("fit", "fill", "stretch", "1:1")

# Platforms that give windows without OpenGL; asking them for a context only prints warnings.
_PLAIN_PLATFORMS = {"offscreen", "minimal", "linuxfb", "vnc"}
# Drivers that draw on the CPU: nine taps a pixel would take the cores from the engine.
_SOFTWARE_DRIVERS = ("llvmpipe", "softpipe", "swrast", "swiftshader", "gdi generic")

_GL_COLOR_BUFFER_BIT, _GL_SCISSOR_TEST, _GL_TEXTURE_2D, _GL_RENDERER = 0x4000, 0x0C11, 0x0DE1, 0x1F01


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a surface shows: an image, how bright, how it fills the window, and under which look.

    `rgba` uint8 [H, W, 4], contiguous and never written again (the same array is uploaded once); `level` 0..1
    multiplies the colour values; `sizing` is one of `SIZINGS`; `bar` is a white rectangle (x, y, width, height as parts
    of the window, y from the top), the part of the test card that moves; `limit` says whether flashes are held back.
    """

    rgba: NDArray[np.uint8]
    level: float = 1.0
    sizing: str = "fit"
    bar: tuple[float, float, float, float] | None = None
    look: Look = NEUTRAL
    limit: bool = True

    def same_as(self, other: Picture | None) -> bool:
        """True when drawing `other` again would change nothing."""
        return other is not None and self.rgba is other.rgba and self._rest() == other._rest()

    def _rest(self) -> tuple[object, ...]:
        return self.level, self.sizing, self.bar, self.look, self.limit


def placement(image: tuple[int, int], window: tuple[int, int], sizing: str) -> tuple[int, int, int, int]:
    """Where an image of (width, height) lies in a window of (width, height), all in pixels: x, y, width, height.

    "fit" shows all of it, "fill" leaves no border, "stretch" ignores its shape, "1:1" gives each pixel of the image one
    of the display, in the middle.
    """
    (width, height), (across, down) = image, window
    if sizing == "stretch":
        return 0, 0, across, down
    if sizing == "1:1":
        return (across - width) // 2, (down - height) // 2, width, height
    choose = max if sizing == "fill" else min
    scale = choose(across / width, down / height)
    wide, high = round(width * scale), round(height * scale)
    return (across - wide) // 2, (down - high) // 2, wide, high


def visible(image: tuple[int, int], window: tuple[int, int], sizing: str) -> Part:
    """The part of an image of (width, height) that is seen in a window of (width, height)."""
    x, y, wide, high = placement(image, window, sizing)
    across, down = window
    return max(-y / high, 0.0), max(-x / wide, 0.0), min((down - y) / high, 1.0), min((across - x) / wide, 1.0)


class _Surface:
    """What both surfaces do: they watch what they show, keys go to one handler, closing is only asked for."""

    on_key: Callable[[QKeyEvent], None] | None = None
    on_double_click: Callable[[], None] | None = None
    _drawing = _drawn = False

    def __init__(self) -> None:
        super().__init__()
        self._watch = Watch()
        self._picture: Picture | None = None

    @property
    def limiting(self) -> bool:
        """Whether the newest picture is held back: it is to be shown again until it is not."""
        return self._watch.limiting

    @property
    def flashes_limited(self) -> int:
        """How many pictures were held back so far because they would have flashed on the display."""
        return self._watch.limited

    def _share(self, picture: Picture, look: Look, room: tuple[int, int], now: float) -> float:
        """How much of the picture, under the look that is drawn, is to be mixed with what stands in the window."""
        if not picture.limit:
            self._watch.rest()
            return 1.0
        height, width = picture.rgba.shape[:2]
        part = visible((width, height), room, picture.sizing)
        return self._watch.share(picture.rgba, picture.level, look, now, part)

    def _room(self: Any) -> tuple[int, int]:
        """Width and height of the window in pixels of the display."""
        ratio = self.devicePixelRatio()
        return round(self.width() * ratio), round(self.height() * ratio)

    def _draw(self: Any) -> None:
        """Draws now: an update by the event queue is 5 ms later, and behind all that other windows want.

        A picture that comes while one is drawn (the swap asks for it) takes the event queue after all, and so does one
        that the window does not draw yet.
        """
        if not self._drawing and self.isExposed():
            self._drawing, self._drawn = True, False
            try:
                QCoreApplication.sendEvent(self, QEvent(QEvent.Type.UpdateRequest))
            finally:
                self._drawing = False
            if self._drawn:
                return
        self.update()

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


class GlSurface(_Surface, QOpenGLWindow):
    """Draws the picture as one textured quad: Catmull-Rom where a GPU draws, bilinear on software drivers.

    A look that is not neutral is drawn before it, at the size of the picture. `frameSwapped` (from Qt) comes after
    every picture that reached the screen.
    """

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._stands: tuple[int, Picture] | None = None  # what was drawn last, and its texture
        self._uploaded: NDArray[np.uint8] | None = None
        self._texture: QOpenGLTexture | None = None
        self._programs: dict[str, QOpenGLShaderProgram] = {}
        self._quad: Quad | None = None
        self._look: LookPass | None = None
        self._hold: Hold | None = None
        self._gl: Any = None
        self.renderer = ""

    def show_picture(self, picture: Picture) -> None:
        """Draws the next picture, and again with every repaint until another one comes."""
        self._picture = picture
        self._draw()

    def initializeGL(self) -> None:
        self._gl = self.context().functions()
        self.renderer = str(self._gl.glGetString(_GL_RENDERER))
        bicubic = not any(name in self.renderer.lower() for name in _SOFTWARE_DRIVERS)
        for name, fragment in {"show": SHOW, "finish": FINISH}.items():
            program = build(fragment, bicubic=bicubic, driver=self.renderer)
            if program is None and bicubic:
                bicubic = False
                program = build(fragment, bicubic=False, driver=self.renderer)
            assert program is not None, "open_surface asked the driver"
            self._programs[name] = program
        log.info("output surface: OpenGL %s, %s", self.renderer, "bicubic" if bicubic else "bilinear")
        self._quad = Quad()
        self._look = LookPass(self._gl, self._quad, bicubic=bicubic, driver=self.renderer)
        self._hold = Hold(self._gl, self._quad, self._programs["show"])

    def paintGL(self) -> None:
        self._drawn = True
        picture, look, hold, room = self._picture, self._look, self._hold, self._room()
        if picture is None or look is None or hold is None:
            self._clear(0.0)
            return
        now = time.perf_counter()
        share = self._share(picture, picture.look if look.works else NEUTRAL, room, now)
        if share < 1.0:
            hold.begin(room, partial(self._compose, self._stands, room))
        texture = 0
        if picture.level > 0.0:
            texture = look.draw(self._upload(picture.rgba).textureId(), picture.rgba, picture.look, now)
        self._stands = texture, picture
        if share < 1.0:
            hold.mix(share, partial(self._compose, self._stands, room))
        else:
            hold.end()
            QOpenGLFramebufferObject.bindDefault()
            self._compose(self._stands, room)

    def _compose(self, stands: tuple[int, Picture] | None, room: tuple[int, int]) -> None:
        """Draws a picture as it is seen, all of it, into the frame buffer that is bound."""
        self._clear(0.0)
        if stands is None:
            return
        (texture, picture), (across, down), gl = stands, room, self._gl
        if picture.level > 0.0:
            height, width = picture.rgba.shape[:2]
            x, y, w, h = placement((width, height), room, picture.sizing)
            gl.glViewport(x, down - y - h, w, h)
            self._show(texture, picture)
        if picture.bar is not None:
            x, y, w, h = (part * size for part, size in zip(picture.bar, (across, down) * 2, strict=True))
            gl.glEnable(_GL_SCISSOR_TEST)
            gl.glScissor(round(x), round(down - y - h), max(1, round(w)), max(1, round(h)))
            self._clear(picture.level)
            gl.glDisable(_GL_SCISSOR_TEST)

    def _clear(self, level: float) -> None:
        self._gl.glClearColor(level, level, level, 1.0)
        self._gl.glClear(_GL_COLOR_BUFFER_BIT)

    def _show(self, texture: int, picture: Picture) -> None:
        height, width = picture.rgba.shape[:2]
        untouched = picture.look.neutral and picture.level == 1.0
        program = self._programs["show" if untouched else "finish"]
        program.bind()
        self._gl.glBindTexture(_GL_TEXTURE_2D, texture)
        program.setUniformValue1i(program.uniformLocation("image"), 0)
        for name, value in {"upright": 1.0, "level": picture.level, "vignette": picture.look.vignette}.items():
            program.setUniformValue1f(program.uniformLocation(name), value)
        program.setUniformValue(program.uniformLocation("size"), float(width), float(height))
        self._quad.draw(self._gl, program)
        self._gl.glBindTexture(_GL_TEXTURE_2D, 0)
        program.release()

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
            if self._hold is not None:
                self._hold.end()
            if self._look is not None:
                self._look.release()
            if self._quad is not None:
                self._quad.release()
            for program in self._programs.values():
                program.removeAllShaders()
            self._programs = {}
            self._texture = self._quad = self._look = self._hold = self._stands = self._gl = None
            self.doneCurrent()
        self.destroy()


class RasterSurface(_Surface, QRasterWindow):
    """The same picture with a plain painter, without the look; `frameSwapped` comes after every repaint."""

    closed = Signal()
    frameSwapped = Signal()
    renderer = "painter"

    def __init__(self) -> None:
        super().__init__()
        self._stands: Picture | None = None
        self._held: QImage | None = None

    def show_picture(self, picture: Picture) -> None:
        """Draws the next picture, and again with every repaint until another one comes."""
        self._picture = picture
        self.update()  # a painter draws only where a window is marked
        self._draw()

    def paintEvent(self, event: QPaintEvent) -> None:
        self._drawn = True
        picture, room = self._picture, self._room()
        share = 1.0 if picture is None else self._share(picture, NEUTRAL, room, time.perf_counter())
        if share == 1.0:
            self._held = None
        else:
            self._mix(share, picture, room)
        painter = QPainter(self)
        ratio = self.devicePixelRatio()
        painter.scale(1.0 / ratio, 1.0 / ratio)  # from here on, pixels of the display
        if self._held is None:
            _compose(painter, picture, room)
        else:
            painter.drawImage(0, 0, self._held)
        painter.end()
        self._stands = picture
        self.frameSwapped.emit()

    def _mix(self, share: float, picture: Picture | None, room: tuple[int, int]) -> None:
        """Mixes `share` of the picture with what stands, or is held already."""
        if self._held is None or self._held.size() != QSize(*room):
            self._held = _composed(self._stands, room)
        painter = QPainter(self._held)
        painter.setOpacity(share)
        painter.drawImage(0, 0, _composed(picture, room))
        painter.end()

    def release(self) -> None:
        """Hides the window for good."""
        self.destroy()


def _compose(painter: QPainter, picture: Picture | None, room: tuple[int, int]) -> None:
    """Paints a picture as it is seen, all of it."""
    across, down = room
    painter.fillRect(0, 0, across, down, Qt.GlobalColor.black)
    if picture is None:
        return
    height, width = picture.rgba.shape[:2]
    painter.setOpacity(picture.level)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawImage(QRectF(*placement((width, height), room, picture.sizing)), as_image(picture.rgba))
    if picture.bar is not None:
        x, y, w, h = picture.bar
        painter.fillRect(QRectF(x * across, y * down, max(1.0, w * across), h * down), QColor("white"))


def _composed(picture: Picture | None, room: tuple[int, int]) -> QImage:
    image = QImage(*room, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    _compose(painter, picture, room)
    painter.end()
    return image


def as_image(rgba: NDArray[np.uint8]) -> QImage:
    """A view of uint8 [H, W, 4] as a QImage without copying; the array must outlive it."""
    height, width = rgba.shape[:2]
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBX8888)


def open_surface(tell: Callable[[str], None]) -> GlSurface | RasterSurface:
    """The best surface this display offers; `tell` hears why OpenGL does not draw where it should. The application must
    exist."""
    platform = QGuiApplication.platformName()
    if platform in _PLAIN_PLATFORMS:
        log.warning("no OpenGL on the display platform %s: drawing without vsync", platform)
    elif (why := refusal()) is None:
        return GlSurface()
    else:
        tell(f"{why}: the output is drawn without it, more slowly and without the look")
    return RasterSurface()
