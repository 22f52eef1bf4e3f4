"""The world's picture: factors and scrolling fields → RGB, vectorised over a batch, at any size.

Coordinates: `y` runs 0 (top) to 1 (bottom), `x` 0 to the aspect ratio. Layers are painted from far to near: sky, sun
and clouds, mountains, hills, trees, ground and water, then the event of each scene, weather last.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from training.world import fields as F
from training.world.factors import SCENES, factor


def render(vector: Tensor, fields: Tensor) -> Tensor:
    """`vector [B, COUNT]`, `fields [B, fields.COUNT, H, W]` → RGB `[B, 3, H, W]` in 0..1."""
    return _Painter(vector, fields).paint()


def _rgb(r: float, g: float, b: float) -> Tensor:
    return torch.tensor([r, g, b]).view(1, 3, 1, 1)


def _step(value: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Smoothstep from `low` to `high`."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _ramp(t: Tensor, stops: list[tuple[float, Tensor]]) -> Tensor:
    """Piecewise linear colour ramp over `t [B, 1, H, W]`."""
    colour = stops[0][1].to(t.device).expand(t.shape[0], 3, *t.shape[2:])
    for (a, _), (b, after) in pairwise(stops):
        colour = torch.lerp(colour, after.to(t.device).expand_as(colour), ((t - a) / (b - a)).clamp(0, 1))
    return colour


_BLACKBODY = [
    (0.0, _rgb(0.02, 0.0, 0.0)), (0.25, _rgb(0.55, 0.05, 0.0)), (0.5, _rgb(0.98, 0.35, 0.02)),
    (0.75, _rgb(1.0, 0.78, 0.18)), (1.0, _rgb(1.0, 0.98, 0.80)),
]  # fmt: skip
_ZENITH = [
    (0.0, _rgb(0.01, 0.015, 0.05)), (0.3, _rgb(0.07, 0.08, 0.25)),
    (0.5, _rgb(0.20, 0.28, 0.55)), (1.0, _rgb(0.15, 0.42, 0.82)),
]  # fmt: skip
_HORIZON = [
    (0.0, _rgb(0.03, 0.05, 0.12)), (0.3, _rgb(0.55, 0.22, 0.32)), (0.5, _rgb(1.0, 0.60, 0.30)),
    (0.75, _rgb(0.80, 0.85, 0.88)), (1.0, _rgb(0.72, 0.86, 0.96)),
]  # fmt: skip
_SUN = [
    (0.0, _rgb(0.75, 0.82, 1.0)), (0.25, _rgb(0.9, 0.5, 0.35)),
    (0.45, _rgb(1.0, 0.55, 0.2)), (0.8, _rgb(1.0, 0.95, 0.8)),
]  # fmt: skip


class _Painter:
    """One batch on its way to a picture. Every scalar factor is kept as `[B, 1, 1, 1]`."""

    def __init__(self, vector: Tensor, fields: Tensor) -> None:
        _, _, h, w = fields.shape
        self.vector, self.fields = vector, fields
        device = fields.device
        self.aspect = w / h
        self.y = ((torch.arange(h, device=device) + 0.5) / h).view(1, 1, h, 1)
        self.x = ((torch.arange(w, device=device) + 0.5) / h).view(1, 1, 1, w)
        self.event_x = (0.14 + 0.72 * self.f("event_x")) * self.aspect
        self.reach, self.lean, self.depth = self.f("reach"), 2 * self.f("lean") - 1, self.f("depth")
        self.flash = self.f("flash")
        self.scene = {name: self.f(name) for name in SCENES}
        storm = torch.maximum(self.scene["thunder"], 0.75 * self.scene["rain"])
        self.storm = torch.maximum(storm, 0.5 * self.scene["explosion"])
        time = 0.10 + 0.90 * self.f("time_of_day")
        self.time = time * (1 - 0.45 * self.scene["thunder"]) * (1 - 0.35 * self.scene["explosion"])
        # Every scene puts its own horizon: mud and waves are seen from near, falls and fires want height.
        near = torch.maximum(self.scene["mud"], 0.55 * self.scene["splash"])
        self.horizon = (0.42 + 0.26 * self.f("horizon")) * (1 - 0.42 * near)
        self.day = _step(self.time, 0.15, 0.75)
        # One winding way down for a bolt and for lava.
        winds = 0.33 * _step(self.scene["thunder"], 0.02, 0.25) + 0.11 * _step(self.scene["explosion"], 0.02, 0.25)
        self.path = self.event_x + winds * (self.field("wander") - 0.5)

    def f(self, name: str) -> Tensor:
        return factor(self.vector, name).view(-1, 1, 1, 1)

    def field(self, name: str) -> Tensor:
        i = F.INDEX[name]
        return self.fields[:, i : i + 1]

    def over(self, image: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
        return image + (colour - image) * alpha

    def paint(self) -> Tensor:
        image = self.sky()
        image = self.volcano(image, self.land_far(image))
        image = self.ground(image)
        image = self.waterfall(image)
        image = self.wind(image)
        image = self.mud(image)
        image = self.splash(image)
        image = self.fire(image)
        image = self.thunder(image)
        image = self.rain(image)
        image = self.underwater(image)
        return self.grade(image)

    # --- sky ---------------------------------------------------------------------------------------------------------

    def sky(self) -> Tensor:
        y, x = self.y, self.x
        zenith, horizon = _ramp(self.time, _ZENITH), _ramp(self.time, _HORIZON)
        mood = 2 * self.f("mood") - 1
        horizon = horizon * (1 + mood * _rgb(0.18, 0.0, -0.2).to(y.device))
        zenith = zenith * (1 + mood * _rgb(0.25, -0.08, -0.12).to(y.device))
        grey = _rgb(0.34, 0.37, 0.41).to(y.device) * (0.22 + 0.75 * self.day)
        zenith = self.over(zenith, grey * 0.75, 0.85 * self.storm)
        horizon = self.over(horizon, grey * 1.25, 0.8 * self.storm)
        self.horizon_colour, self.zenith_colour = horizon, zenith
        height = ((self.horizon - y) / self.horizon).clamp(0, 1)
        image = torch.lerp(horizon, zenith, height**0.7)
        # Sun or moon: it climbs with the hour, the moon hangs where the sun is not.
        night = 1 - _step(self.time, 0.12, 0.3)
        climb = torch.where(self.time < 0.2, 0.72, (self.time - 0.2) / 0.8)
        self.sun_x = (0.1 + 0.8 * self.f("sun_x")) * self.aspect
        self.sun_y = self.horizon * (0.97 - 0.85 * climb)
        distance = torch.sqrt((x - self.sun_x) ** 2 + (y - self.sun_y) ** 2)
        self.sun_colour = _ramp(self.time, _SUN)
        self.shine = (1 - 0.9 * self.storm) * (1 - 0.6 * self.f("cloud_cover"))
        glow = torch.exp(-distance * 3.5) * (0.55 - 0.35 * night) + torch.exp(-distance * 14.0) * 0.5
        image = image + self.sun_colour * glow * self.shine
        disc = 1 - _step(distance, 0.035, 0.045)
        image = self.over(image, self.sun_colour.clamp(max=1) * 0.5 + 0.5, disc * self.shine.clamp(0, 1))
        stars = self.field("spark") ** 3 * night * height * (1 - self.f("cloud_cover")) * (1 - self.storm)
        image = image + 1.2 * stars
        return self.clouds(image, height, distance)

    def clouds(self, image: Tensor, height: Tensor, distance: Tensor) -> Tensor:
        shape = 0.7 * self.field("cloud") + 0.3 * self.field("wisp")
        cover = torch.maximum(self.f("cloud_cover") * 0.75 + 0.05, 0.95 * self.storm)
        low = 0.78 - 0.62 * cover
        body = _step(shape, low, low + 0.22)
        thick = _step(shape, low + 0.05, low + 0.4)
        lit = self.over(
            self.horizon_colour * 0.55 + 0.42 * self.day + 0.03,
            self.sun_colour,
            0.45 * torch.exp(-2.2 * distance) * self.shine,
        )
        shade = self.zenith_colour * 0.55 + 0.22 * self.day
        dark = torch.maximum(self.storm, 0.25 * cover)
        colour = torch.lerp(lit, shade * (1 - 0.45 * self.storm), (0.25 + 0.75 * thick) * (0.35 + 0.65 * dark))
        return self.over(image, colour, body * (0.15 + 0.8 * _step(height, 0.0, 0.35)))

    # --- land --------------------------------------------------------------------------------------------------------

    def land_far(self, image: Tensor) -> Tensor:
        y, device = self.y, self.y.device
        haze = 0.35 + 0.5 * self.f("haze")
        light = 0.10 + 0.9 * self.day * (1 - 0.5 * self.storm)
        rock = _rgb(0.22, 0.26, 0.36).to(device) * light
        top = self.horizon - (0.03 + 0.24 * self.f("ridge")) * self.field("ridge")
        shade = 0.75 + 0.5 * self.field("wisp")
        far = self.over(rock * shade, self.horizon_colour, haze)
        image = self.over(image, far, _step(y, top - 0.004, top + 0.004))
        top = self.horizon - (0.01 + 0.12 * self.f("hills")) * self.field("hills")
        green = _rgb(0.13, 0.20, 0.13).to(device) * light * (0.7 + 0.6 * self.field("smoke"))
        near = self.over(green, self.horizon_colour, 0.5 * haze)
        image = self.over(image, near, _step(y, top - 0.003, top + 0.003))
        top = self.horizon + 0.006 - (0.02 + 0.13 * self.f("trees")) * self.field("trees")
        wood = _rgb(0.035, 0.07, 0.05).to(device) * (0.25 + 0.9 * light)
        return self.over(image, self.over(wood, self.horizon_colour, 0.18 * haze), _step(y, top - 0.003, top + 0.003))

    def ground(self, image: Tensor) -> Tensor:
        y, device = self.y, self.y.device
        below = _step(y, self.horizon - 0.002, self.horizon + 0.004)
        down = ((y - self.horizon) / (1 - self.horizon)).clamp(0, 1)
        light = 0.10 + 0.9 * self.day * (1 - 0.5 * self.storm)
        soil = self.over(_rgb(0.16, 0.22, 0.08).to(device), _rgb(0.36, 0.30, 0.12).to(device), self.f("mood"))
        meadow = soil * light * (0.55 + 0.9 * self.field("smoke")) * (0.75 + 0.5 * self.field("fall"))
        meadow = meadow * (1.15 - 0.5 * down)
        meadow = self.over(meadow, self.horizon_colour * 0.8, 0.35 * (1 - down) ** 4)
        rough = 0.25 + 0.75 * torch.maximum(self.f("swell"), self.scene["splash"])
        wave = (self.field("swell") - 0.5) * 2 * rough
        glint = (self.field("glint") - 0.5) * 2
        climb = (down * 1.1 + 0.35 * wave * (0.3 + down)).clamp(0, 1)
        mirrored = torch.lerp(self.horizon_colour, self.zenith_colour, climb)
        crests = 0.16 * wave * (0.4 + 0.6 * light) * (0.3 + down) * _rgb(0.8, 1.0, 1.1).to(device)
        sea = mirrored * (0.82 - 0.25 * down) + crests
        path = torch.exp(-(((self.x - self.sun_x) / (0.05 + 0.22 * down)) ** 2)) * self.shine
        sea = sea + self.sun_colour * path * _step(glint + 0.5 * wave, 0.1, 0.75) * 0.85
        sea = self.over(sea, _rgb(0.02, 0.05, 0.07).to(device), 0.30 * torch.exp(-down * 14))
        wet = _step(self.f("water"), 0.35, 0.55)
        wet = torch.maximum(wet, torch.maximum(self.scene["splash"], self.scene["waterfall"]).clamp(0, 1))
        wet = wet * (1 - _step(self.scene["wind"], 0.05, 0.35))
        image = self.over(image, self.over(meadow, sea, wet), below)
        mist = self.f("haze") * torch.exp(-(((y - self.horizon) / 0.05) ** 2))
        return self.over(image, self.horizon_colour, 0.5 * mist)

    # --- scenes ------------------------------------------------------------------------------------------------------

    def volcano(self, sky: Tensor, image: Tensor) -> Tensor:
        """A cone that grows out of the ground with its scene, higher where water stands, so that it is an island."""
        s, y, x, device = self.scene["explosion"], self.y, self.x, self.y.device
        present = _step(s, 0.02, 0.25)
        burst = (0.35 + 0.65 * s) * (0.45 + 0.75 * self.flash)
        foot = self.horizon + 0.04
        top = (foot - (0.24 + 0.05 * self.reach + 0.30 * self.scene["underwater"]) * present).clamp(min=0.1)
        bell = torch.exp(-0.5 * ((x - self.event_x) / 0.19) ** 2)
        slope = foot + (top - foot) * bell - 0.04 * (self.field("ridge") - 0.5)
        cone = _step(y, slope - 0.003, slope + 0.004)
        # Plume: widens and leans with height, billows from the smoke field, lit from below.
        up = (top - y).clamp(min=0)
        centre = self.event_x + 0.5 * self.lean * up
        width = 0.045 + (0.35 + 0.35 * s) * up
        cross = (x - centre) / width
        billow = _step(self.field("smoke") + 0.28 * self.field("cloud"), 0.30, 0.75)
        plume = torch.exp(-(cross**2) * 1.2) * _step(y, top + 0.03, top - 0.02) * present
        ash = self.over(_rgb(0.09, 0.08, 0.085).to(device), self.horizon_colour * 0.8, 0.15 + 0.35 * billow)
        fire = _ramp((burst * torch.exp(-up * (5.5 - 3.0 * self.flash)) * (0.4 + billow)).clamp(0, 1), _BLACKBODY)
        image = self.over(image, ash, (plume * (0.55 + 0.6 * billow)).clamp(0, 1))
        far = torch.sqrt((x - self.event_x) ** 2 + 1.4 * (y - top) ** 2)
        glow = torch.exp(-far * (4.8 - 2.2 * self.flash)) * burst * present
        image = image + _rgb(1.0, 0.30, 0.06).to(device) * glow * 0.9
        image = image + fire * plume * burst * 1.1
        fountain = torch.exp(-((cross * 1.6) ** 2)) * _step(up, 0.32 * burst + 0.02, 0.0) * _step(y, top + 0.04, top)
        hot = (fountain * (0.35 + self.field("flame")) * burst * 1.3).clamp(0, 1) * present
        image = self.over(image, _ramp(hot, _BLACKBODY), _step(hot, 0.1, 0.45))
        rock = _rgb(0.10, 0.075, 0.075).to(device) * (0.5 + 0.9 * self.field("wisp")) * (0.35 + 0.9 * self.day)
        image = self.over(image, rock, cone)
        down = (y - top).clamp(min=0)
        rivers = torch.exp(-(((x - self.path) / (0.012 + 0.05 * down)) ** 2))
        lava = (rivers * (0.45 + 0.9 * self.field("flame")) * burst * 1.5).clamp(0, 1) * cone * present
        image = self.over(image, _ramp(lava, _BLACKBODY), _step(lava, 0.15, 0.4))
        embers = self.field("spark") * torch.exp(-(((x - centre) / (0.15 + 0.6 * up)) ** 2))
        embers = embers * _step(y, top + 0.05, top - 0.1)
        return image + _rgb(1.0, 0.55, 0.15).to(device) * embers * present * burst * 1.3

    def waterfall(self, image: Tensor) -> Tensor:
        s, y, x, device = self.scene["waterfall"], self.y, self.x, self.y.device
        present = _step(s, 0.02, 0.25)
        light = 0.34 + 0.66 * self.day
        foot = self.horizon + 0.22
        top = 0.10 + 0.10 * (1 - self.reach) + 0.10 * self.field("hills")
        top = top + 0.28 * _step(self.scene["explosion"], 0.02, 0.25)  # the volcano stands behind it
        wall = _step(y, top - 0.004, top + 0.006) * _step(y, foot + 0.006 + 0.03 * self.field("hills"), foot - 0.004)
        strata = 0.55 + 0.5 * self.field("smoke") + 0.35 * (self.field("fall") - 0.5)
        moss = _step(self.field("cloud"), 0.45, 0.7)
        rock = self.over(_rgb(0.20, 0.19, 0.18).to(device), _rgb(0.10, 0.20, 0.09).to(device), moss) * strata * light
        image = self.over(image, rock, wall * present)
        width = (0.05 + 0.22 * s + 0.07 * self.reach) * (0.8 + 0.35 * ((y - top).clamp(min=0) / 0.6))
        edge = (x - self.event_x + 0.05 * (self.field("wander") - 0.5)).abs()
        band = 1 - _step(edge, width * 0.75, width * 1.1 + 0.002)
        strands = _step(self.field("fall"), 0.30, 0.72)
        water = torch.lerp(
            _rgb(0.42, 0.58, 0.68).to(device) * light,
            (_rgb(0.94, 0.97, 1.0).to(device) * (0.2 + 0.8 * light)).expand_as(image),
            strands,
        )
        image = self.over(image, water, band * wall * present * (0.55 + 0.45 * strands))
        mist = torch.exp(-(((y - foot) / (0.05 + 0.09 * s)) ** 2)) * torch.exp(
            -(((x - self.event_x) / (width * 1.7 + 0.1)) ** 2)
        )
        spray = mist * (0.35 + 0.75 * self.field("smoke")) * present * (0.55 + 0.6 * s)
        image = self.over(image, _rgb(0.90, 0.95, 0.98).to(device) * (0.25 + 0.75 * light), spray.clamp(0, 0.95))
        foam = _step(self.field("swell") + 0.4 * self.field("glint"), 0.72, 0.95) * _step(y, foot, foot + 0.05)
        foam = foam * torch.exp(-(((x - self.event_x) / 0.5) ** 2))
        return self.over(image, _rgb(0.9, 0.95, 1.0).to(device) * light, 0.7 * foam * present)

    def wind(self, image: Tensor) -> Tensor:
        s, y, device = self.scene["wind"], self.y, self.y.device
        present = _step(s, 0.02, 0.25)
        light = 0.32 + 0.68 * self.day
        down = ((y - self.horizon) / (1 - self.horizon)).clamp(0, 1)
        field = _step(y, self.horizon, self.horizon + 0.02) * present
        bands = self.field("gust") * 0.75 + self.field("swell") * 0.35
        straw = torch.lerp(
            _rgb(0.34, 0.28, 0.09).to(device).expand_as(image),
            _rgb(0.95, 0.86, 0.52).to(device).expand_as(image),
            _step(bands, 0.35, 0.85),
        )
        blades = 0.62 + 0.75 * (self.field("fall") * 0.7 + self.field("wisp") * 0.3) * (0.4 + 0.6 * down)
        image = self.over(image, straw * light * blades, field * 0.95)
        dust = _step(self.field("gust"), 0.66 - 0.22 * s, 0.95 - 0.2 * s) * (
            0.25 + 0.75 * torch.exp(-(((y - self.horizon) / 0.28) ** 2))
        )
        pale = self.over(self.horizon_colour, _rgb(0.86, 0.74, 0.55).to(device) * (0.15 + 0.85 * light), 0.55)
        image = self.over(image, pale, (dust * s * 0.62 * present).clamp(0, 1))
        leaves = _step(self.field("spark"), 0.35, 0.7) * s * _step(y, 0.2, 0.5)
        return self.over(image, _rgb(0.42, 0.22, 0.06).to(device) * (0.3 + 0.7 * light), 0.85 * leaves * present)

    def mud(self, image: Tensor) -> Tensor:
        s, y, device = self.scene["mud"], self.y, self.y.device
        present = _step(s, 0.02, 0.3)
        light = 0.36 + 0.64 * self.day
        edge = self.horizon + 0.02 * self.field("hills")
        down = ((y - self.horizon) / (1 - self.horizon)).clamp(0, 1)
        shore = _step(down - 0.12 * (self.field("hills") - 0.5), 0.34, 0.44)  # grass grows behind it
        ground = _step(y, edge - 0.01, edge + 0.03) * present
        ground = ground * torch.lerp(torch.ones_like(s), shore, _step(self.scene["wind"], 0.02, 0.25))
        lumps = 0.6 * self.field("smoke") + 0.55 * (self.field("caustic") - 0.3) * (0.35 + 0.65 * s)
        brown = torch.lerp(
            _rgb(0.13, 0.08, 0.045).to(device).expand_as(image),
            _rgb(0.45, 0.30, 0.17).to(device).expand_as(image),
            (lumps + 0.1).clamp(0, 1),
        )
        shiny = _step(self.field("smoke") - 0.8 * self.field("caustic"), 0.50, 0.72) * (0.35 + 0.5 * s)
        gloss = self.over(self.over(self.horizon_colour, self.sun_colour, 0.35), self.zenith_colour, 0.15)
        image = self.over(image, brown * light * (0.8 + 0.4 * down), ground)
        image = self.over(image, gloss * (0.35 + 0.65 * self.field("glint")), 0.6 * shiny * ground)
        pops = _step(self.field("bubble"), 0.25, 0.6) * ground * s * _step(down, 0.05, 0.4)
        return self.over(image, _rgb(0.72, 0.55, 0.38).to(device) * light, 0.85 * pops)

    def splash(self, image: Tensor) -> Tensor:
        s, y, x, device = self.scene["splash"], self.y, self.x, self.y.device
        present = _step(s, 0.02, 0.25)
        light = 0.34 + 0.66 * self.day * (1 - 0.3 * self.storm)
        bump = torch.exp(-(((x - self.event_x) / 0.42) ** 2))
        crest = (
            0.80
            - (0.06 + 0.40 * s) * bump * (0.7 + 0.6 * self.reach)
            - 0.10 * (self.field("hills") - 0.5)
            - 0.05 * (self.field("trees"))
        )
        inside = _step(y, crest - 0.006, crest + 0.01) * present
        under = (y - crest).clamp(min=0)
        shallow, deep = _rgb(0.18, 0.62, 0.62).to(device), _rgb(0.02, 0.17, 0.27).to(device)
        body = torch.lerp(shallow, deep, (under * 2.6).clamp(0, 1)) * light
        body = body * (0.72 + 0.55 * self.field("swell")) + 0.10 * (self.field("glint") - 0.5)
        image = self.over(image, body, inside * 0.96)
        lace = self.field("smoke") * 0.7 + self.field("glint") * 0.45
        foam = _step(lace, 0.42 + under * 2.4, 0.62 + under * 2.4) * inside
        image = self.over(image, _rgb(0.95, 0.98, 1.0).to(device) * (0.15 + 0.85 * light), foam)
        above = (crest - y).clamp(min=0)
        curtain = torch.exp(-above / (0.05 + 0.16 * s)) * _step(y, crest + 0.01, crest - 0.005) * bump * present
        drops = curtain * (
            _step(self.field("spark"), 0.25, 0.6) + 0.6 * _step(lace, 0.60, 0.85) * torch.exp(-above * 9)
        )
        return self.over(
            image, _rgb(0.93, 0.97, 1.0).to(device) * (0.2 + 0.8 * light), (drops * (0.6 + 0.6 * s)).clamp(0, 1)
        )

    def fire(self, image: Tensor) -> Tensor:
        s, y, x, device = self.scene["fire"], self.y, self.x, self.y.device
        present = _step(s, 0.02, 0.2)
        dim = 1 - 0.5 * s * present
        image = image * dim
        spread = torch.exp(-(((x - self.event_x) / (0.38 + 0.75 * s)) ** 2))
        tall = (0.10 + 0.50 * s) * (0.65 + 0.6 * self.reach) * (0.30 + 0.70 * spread)
        up = (1.02 - y) / tall.clamp(min=0.03)
        tongues = self.field("flame") + 0.30 * (self.field("smoke") - 0.5)
        heat = (1.55 * tongues + 0.35 - 0.78 * up).clamp(0, 1) * present
        halo = torch.exp(-((1.0 - y) / (tall * 1.3 + 0.05)).clamp(min=0) * 1.3) * (0.4 + 0.6 * spread) * s * present
        image = image + _rgb(0.85, 0.30, 0.06).to(device) * halo * 0.55
        height = torch.exp(-(((y - (1.0 - 1.25 * tall)) / (0.22 + 0.2 * s)) ** 2))
        smoke = _step(self.field("smoke"), 0.45, 0.8) * height * spread
        image = self.over(image, _rgb(0.16, 0.10, 0.08).to(device), 0.5 * smoke * s * present)
        image = self.over(image, _ramp((heat * 1.12).clamp(0, 1), _BLACKBODY), _step(heat, 0.10, 0.42))
        embers = _step(self.field("spark"), 0.30, 0.65) * spread * _step(y, 0.12, 0.55) * s * present
        return self.over(image, _rgb(1.0, 0.66, 0.22).to(device), embers.clamp(0, 1))

    def thunder(self, image: Tensor) -> Tensor:
        s, y, x, device = self.scene["thunder"], self.y, self.x, self.y.device
        present = _step(s, 0.02, 0.25)
        stroke = present * _step(self.flash, 0.18, 0.75) * (0.45 + 0.55 * s)
        image = image * (1 - 0.25 * present * (1 - stroke))
        distance = (x - self.path).abs()
        reach = _step(y, self.horizon + 0.02, self.horizon - 0.02)
        sheet = torch.exp(-distance * 2.2) * (0.35 + 0.9 * _step(self.field("cloud"), 0.35, 0.75)) * torch.exp(-y * 1.2)
        image = image + _rgb(0.55, 0.52, 0.90).to(device) * sheet * stroke * 1.15
        image = image + _rgb(0.60, 0.62, 1.0).to(device) * torch.exp(-distance * 22) * stroke * reach * 0.75
        core = 1 - _step(distance, 0.005, 0.011 + 0.006 * s)
        image = self.over(image, _rgb(1.0, 0.98, 1.0).to(device), core * reach * stroke.clamp(0, 1))
        branch = (x - self.event_x - (y - 0.14) * 0.8 * self.lean - 0.33 * (self.field("wander") - 0.5)).abs()
        twig = (
            (1 - _step(branch, 0.003, 0.008)) * _step(y, 0.12, 0.16) * _step(y, 0.75 * self.horizon, 0.6 * self.horizon)
        )
        image = self.over(image, _rgb(0.9, 0.88, 1.0).to(device), 0.85 * twig * stroke.clamp(0, 1))
        lake = _step(y, self.horizon, self.horizon + 0.02) * torch.exp(-(((x - self.event_x) / 0.12) ** 2))
        lake = lake * self.field("glint")
        return image + _rgb(0.7, 0.7, 1.0).to(device) * lake * stroke * 0.8

    def rain(self, image: Tensor) -> Tensor:
        s, y, device = self.scene["rain"], self.y, self.y.device
        present = _step(s, 0.02, 0.2)
        light = 0.30 + 0.70 * self.day
        veil = (0.18 + 0.42 * s) * (0.65 + 0.55 * self.field("cloud"))
        image = self.over(
            image,
            self.over(self.horizon_colour, _rgb(0.50, 0.56, 0.62).to(device) * light, 0.75),
            (veil * present).clamp(0, 0.8),
        )
        drops = _step(self.field("streak"), 0.52 - 0.42 * s, 0.95 - 0.35 * s)
        image = self.over(image, _rgb(0.88, 0.93, 1.0).to(device) * (0.25 + 0.75 * light), 0.72 * drops * present)
        down = ((y - self.horizon) / (1 - self.horizon)).clamp(0, 1)
        rings = _step(self.field("glint"), 0.70 - 0.12 * s, 0.9) * _step(down, 0.02, 0.3)
        return self.over(image, _rgb(0.86, 0.92, 0.97).to(device) * (0.25 + 0.75 * light), 0.45 * rings * present)

    def underwater(self, image: Tensor) -> Tensor:
        """Water that rises: a faint scene fills the foot of the picture, one of 0.62 and more all of it."""
        s, y, x, device = self.scene["underwater"], self.y, self.x, self.y.device
        line = 1.06 - 1.8 * s - 0.05 * (self.field("swell") - 0.5)
        below = _step(y, line - 0.003, line + 0.005)
        under = y - (1.06 - 1.8 * s).clamp(min=0)
        light = (0.35 + 0.65 * self.day) * (1.15 - 0.6 * self.depth)
        tint = self.over(_rgb(0.02, 0.23, 0.48).to(device), _rgb(0.03, 0.38, 0.45).to(device), self.f("mood"))
        surface = tint * 1.75 + _rgb(0.10, 0.16, 0.12).to(device)
        deep = _rgb(0.0, 0.045, 0.14).to(device)
        water = torch.lerp(
            surface.expand_as(image) * light,
            deep.expand_as(image) * (0.5 + 0.5 * light),
            (under * (0.85 + 0.35 * self.depth)).clamp(0, 1) ** 0.8,
        )
        fan = torch.exp(-(((x - self.sun_x - 0.5 * self.lean * y) / (0.25 + 0.7 * y)) ** 2))
        rays = _step(self.field("fall"), 0.42, 0.80) * fan * torch.exp(-1.9 * under.clamp(min=0))
        water = water + _rgb(0.45, 0.80, 0.75).to(device) * rays * light * 0.55
        net = self.field("caustic") * (torch.exp(-5.0 * under.clamp(min=0)) * 0.55 + _step(y, 0.72, 1.0) * 0.32)
        water = water + _rgb(0.50, 0.85, 0.80).to(device) * net * light
        bed = 0.93 - 0.10 * self.field("hills") * (1.2 - 0.6 * self.depth)
        sand = (
            _rgb(0.20, 0.33, 0.32).to(device) * light * (0.55 + 0.5 * self.field("smoke") + 0.8 * self.field("caustic"))
        )
        water = self.over(water, sand, 0.75 * _step(y, bed - 0.01, bed + 0.03))
        rise = _step(self.field("bubble"), 0.62 - 0.50 * (0.25 + 0.75 * s) * (0.5 + 0.5 * self.reach), 0.92)
        column = 0.30 + 0.70 * torch.exp(-(((x - self.event_x) / (0.22 + 0.35 * s)) ** 2))
        water = self.over(
            water, _rgb(0.78, 0.96, 1.0).to(device) * (0.35 + 0.65 * light), (0.85 * rise * column).clamp(0, 1)
        )
        motes = _step(self.field("spark"), 0.4, 0.9) * 0.35
        water = water + _rgb(0.4, 0.7, 0.7).to(device) * motes * light
        image = self.over(image, water, below)
        rim = torch.exp(-(((y - line) / 0.007) ** 2)) * (0.4 + 0.6 * self.field("glint"))
        return self.over(image, surface * light + 0.45 * self.horizon_colour, 0.8 * rim)

    def grade(self, image: Tensor) -> Tensor:
        """Saturation, a soft shoulder instead of clipping, and a light vignette."""
        grey = image.mean(1, keepdim=True)
        image = grey + (image - grey) * (0.75 + 0.5 * self.f("saturation"))
        edge = (self.x / self.aspect - 0.5) ** 2 + (self.y - 0.5) ** 2
        image = (image * (1.04 - 0.45 * edge)).clamp(min=0)
        return torch.where(image < 0.8, image, 0.8 + 0.2 * torch.tanh((image - 0.8) / 0.2)).clamp(0, 1)
