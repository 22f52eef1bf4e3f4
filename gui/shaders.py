"""What the output draws with: the shaders, in the dialect of the context, and the quad that they paint.

The GLSL is written once, in version 1.20. Textures have the first row of the image at v = 0; the same goes for what is
drawn into a frame buffer, where `upright` is −1.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from PySide6.QtGui import QOffscreenSurface, QOpenGLContext
from PySide6.QtOpenGL import QOpenGLBuffer, QOpenGLShader, QOpenGLShaderProgram, QOpenGLVertexArrayObject

from engine.look import SECTORS, VIGNETTE

log = logging.getLogger(__name__)

_GL_TRIANGLE_STRIP, _GL_FLOAT, _GL_RENDERER = 0x0005, 0x1406, 0x1F01

_VERTEX = """
attribute vec2 corner;
varying vec2 uv;
uniform float upright;
void main() {
    uv = vec2(0.5 + 0.5 * corner.x, 0.5 - 0.5 * upright * corner.y);
    gl_Position = vec4(corner, 0.0, 1.0);
}
"""

_LINEAR = """
vec3 sampled(sampler2D image, vec2 size, vec2 at) { return texture2D(image, at).rgb; }
"""

# Catmull-Rom, 16 texels in nine bilinear taps: the two inner weights of each axis are read with one tap between them.
_BICUBIC = """
vec3 tap(sampler2D image, float x, float y) { return texture2D(image, vec2(x, y)).rgb; }
vec3 sampled(sampler2D image, vec2 size, vec2 at) {
    vec2 p = at * size;
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
    vec3 sum = (tap(image, a.x, a.y) * w0.x + tap(image, b.x, a.y) * w.x + tap(image, d.x, a.y) * w3.x) * w0.y
             + (tap(image, a.x, b.y) * w0.x + tap(image, b.x, b.y) * w.x + tap(image, d.x, b.y) * w3.x) * w.y
             + (tap(image, a.x, d.y) * w0.x + tap(image, b.x, d.y) * w.x + tap(image, d.x, d.y) * w3.x) * w3.y;
    return clamp(sum, 0.0, 1.0);
}
"""

SHOW = """
varying vec2 uv;
uniform sampler2D image;
uniform vec2 size;
uniform float level;
%s
void main() { gl_FragColor = vec4(sampled(image, size, uv) * level, 1.0); }
"""
"""Puts a picture on the display: scaled, faded."""

FINISH = """
varying vec2 uv;
uniform sampler2D image;
uniform vec2 size;
uniform float level;
uniform float vignette;
%s
void main() {
    vec2 p = 2.0 * uv - 1.0;
    float shade = 1.0 - vignette * smoothstep(BEGINS, FULL, dot(p, p));
    // Interleaved gradient noise (Jimenez 2014) of one step hides the bands of a slow fade; it never lifts black.
    float grain = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
    gl_FragColor = vec4(sampled(image, size, uv) * (level * shade) + grain / 255.0, 1.0);
}
""".replace("BEGINS, FULL", ", ".join(map(str, VIGNETTE)))
"""The same for a picture that was changed on its way: with the vignette, and without bands."""

LOOK = """
varying vec2 uv;
uniform sampler2D image;
uniform sampler2D last;
uniform vec2 size;
uniform int mirror;
uniform mat3 colours;
uniform float contrast;
uniform float keep;
uniform float loss;
uniform float growth;
%s
vec2 mirrored(vec2 p) {
    if (mirror == 1) p.x = min(p.x, 1.0 - p.x);
    if (mirror == 2) p.y = 0.25 + min(p.y, 1.0 - p.y);
    if (mirror == 3) {
        vec2 aspect = vec2(size.x / size.y, 1.0);
        vec2 q = (p - 0.5) * aspect;
        float angle = abs(mod(atan(q.y, q.x), SECTOR) - 0.5 * SECTOR);
        p = length(q) * vec2(cos(angle), sin(angle)) / aspect + 0.5;
        p = 1.0 - abs(1.0 - mod(p, 2.0));
    }
    return p;
}
void main() {
    vec3 c = clamp(colours * sampled(image, size, mirrored(uv)), 0.0, 1.0);
    if (contrast < 1.0) c = 0.5 + contrast * (c - 0.5);
    if (contrast > 1.0) {
        vec3 low = step(c, vec3(0.5));
        vec3 bent = 0.5 * pow(2.0 * mix(1.0 - c, c, low), vec3(contrast));
        c = mix(1.0 - bent, bent, low);
    }
    vec3 trail = texture2D(last, 0.5 + (uv - 0.5) / growth).rgb;
    c += max(keep * (trail - c) - loss, 0.0);
    gl_FragColor = vec4(c, 1.0);
}
""".replace("SECTOR", f"{2.0 * np.pi / SECTORS:.9f}")
"""What `engine.look` says in numpy, and the trails: light of the pictures before, where it outshines the new one."""


def refusal() -> str | None:
    """Why no picture can be drawn with OpenGL here, or None. The application must exist."""
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        return "there is no OpenGL on this display"
    driver = str(context.functions().glGetString(_GL_RENDERER))
    works = all(build(fragment, bicubic=False, driver=driver) is not None for fragment in (SHOW, FINISH))
    context.doneCurrent()
    return None if works else f"the driver {driver} compiles no shader"


def build(fragment: str, *, bicubic: bool, driver: str) -> QOpenGLShaderProgram | None:
    """The program of a fragment shader, for the context that is current; None, and a line in the log, where the driver
    refuses it."""
    program, kinds = QOpenGLShaderProgram(), QOpenGLShader.ShaderTypeBit
    source = fragment % (_BICUBIC if bicubic else _LINEAR)
    context = QOpenGLContext.currentContext()
    built = (
        program.addShaderFromSourceCode(kinds.Vertex, _dialect(context, _VERTEX, fragment=False))
        and program.addShaderFromSourceCode(kinds.Fragment, _dialect(context, source, fragment=True))
        and program.link()
    )
    if not built:
        log.warning("shader refused by %s: %s", driver, program.log().strip())
    return program if built else None


def _dialect(context: QOpenGLContext, source: str, *, fragment: bool) -> str:
    """The GLSL 1.20 source in the dialect of the context: 1.00 for OpenGL ES, 1.50 for a core profile."""
    if context.isOpenGLES():
        # Samplers too: where they are coarse, drivers make what is computed for them coarse, and texels blur.
        best = "#ifdef GL_FRAGMENT_PRECISION_HIGH\n#define BEST highp\n#else\n#define BEST mediump\n#endif\n"
        best += "precision BEST float;\nprecision BEST int;\nprecision BEST sampler2D;\n"
        return "#version 100\n" + (best if fragment else "") + source
    if context.format().profile() == context.format().OpenGLContextProfile.CoreProfile:
        renamed = source.replace("texture2D(", "texture(").replace("gl_FragColor", "colour")
        renamed = renamed.replace("attribute ", "in ").replace("varying ", "in " if fragment else "out ")
        return "#version 150\n" + ("out vec4 colour;\n" if fragment else "") + renamed
    return "#version 120\n" + source


class Quad:
    """The four corners of the viewport. Made, drawn and freed while its context is current."""

    def __init__(self) -> None:
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

    def draw(self, gl: Any, program: QOpenGLShaderProgram) -> None:
        """Fills the viewport with the program, which is bound."""
        if self._vertices.isCreated():
            self._vertices.bind()
        corner = program.attributeLocation("corner")
        self._corners.bind()
        program.enableAttributeArray(corner)
        program.setAttributeBuffer(corner, _GL_FLOAT, 0, 2, 0)
        gl.glDrawArrays(_GL_TRIANGLE_STRIP, 0, 4)
        program.disableAttributeArray(corner)
        self._corners.release()
        if self._vertices.isCreated():
            self._vertices.release()

    def release(self) -> None:
        """Frees what the context holds."""
        self._corners.destroy()
        if self._vertices.isCreated():
            self._vertices.destroy()
