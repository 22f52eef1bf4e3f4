"""What the world sounds like: nine natural voices that follow the factor tracks sample for sample.

Each voice reads its intensity (0..1) and its placement factors from a `Take` and returns `[samples]` with a power of
about −20 dBFS at full intensity. Intensity is never loudness alone: more of it also means denser, brighter, rougher.
`synthesise` adds the voices that are present, puts them in a room, in front of a microphone and over a noise floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from training.world.dsp import Take, band, soft_limit, tilted
from training.world.factors import INDEX, SCENES, Tracks

SAMPLE_RATE = 32_000
LOUDNESS_RANGE_DB = 18.0  # between the faintest and the fullest intensity of one clip
CALM_EXACT_SILENCE = 0.15  # how many clips without a scene hold nothing at all


def loudness(intensity: Tensor, range_db: float = LOUDNESS_RANGE_DB) -> Tensor:
    """Intensity 0..1 → gain: 1 at full, −`range_db` when faint, and nothing at 0."""
    return (intensity / 0.05).clamp(max=1.0) * 10.0 ** ((intensity - 1.0) * range_db / 20.0)


def at(curve: Tensor, starts: Tensor) -> Tensor:
    """The value of `curve [samples]` at each start `[K]`."""
    return curve[starts.clamp(0, curve.shape[0] - 1)]


def explosion(take: Take, intensity: Tensor) -> Tensor:
    """Booms at the strokes of `flash` whose pitch drops, debris after each, over the deep rumble of the vent."""
    starts, sizes = take.strokes()
    sizes = sizes * loudness(at(intensity, starts), 16.0)
    rumble = take.noise(tilted(25.0, 160.0, -4.0)) * (1.0 + 0.35 * take.wander(0.07)) * loudness(intensity, 22.0) * 0.12
    blast = take.noise(tilted(60.0, 900.0, -5.0)) * take.decays(starts, sizes, take.number(0.22, 0.4)) * 0.38
    blast = blast + take.noise(band(300.0, 5000.0, 1.0)) * take.decays(starts, sizes, 0.05) * 0.30
    tail = take.noise(tilted(30.0, 220.0, -3.0)) * take.decays(starts, sizes, take.number(0.7, 1.2), 0.05) * 0.22
    time = take.seconds(0.9)
    drop = 2.0 * math.pi * (38.0 * time + 75.0 * 0.09 * (1.0 - torch.exp(-time / 0.09)))
    boom = take.scatter(starts, 0.55 * sizes[:, None] * torch.sin(drop) * torch.exp(-time / 0.28))
    falling = take.decays(starts, sizes, 0.5, 0.12) + 0.15 * intensity
    stones = take.events((90.0 * falling * (0.4 + intensity)).clamp(max=140.0))
    count = stones.shape[0]
    size = 0.17 * at(falling, stones) * torch.exp(0.6 * take.normal(count))
    fall = take.uniform(count, low=0.003, high=0.02)
    debris = take.rings(stones, size, take.uniform(count, low=180.0, high=1400.0), fall, length_s=0.05)
    return rumble + blast + tail + boom + debris + take.clicks(stones, 0.7 * size, 0.5 * fall)


def fire(take: Take, intensity: Tensor) -> Tensor:
    """Crackle and pops that grow denser with intensity and `reach`, over a low flickering roar."""
    reach = take.factor("reach")
    gain = loudness(intensity)
    flicker = (1.0 + 0.35 * take.wander(0.05) + 0.25 * take.wander(0.3)).clamp(min=0.1)
    roar = take.noise(tilted(70.0, 700.0, -4.0)) * flicker * gain * (0.25 + 0.75 * intensity) * 0.07
    hiss = take.noise(band(2500.0, 9000.0, 1.0)) * flicker * gain * 0.007
    bunched = torch.exp(0.7 * take.wander(0.12) - 0.25)
    crackles = take.events((6.0 + 75.0 * intensity * (0.5 + reach)) * bunched * (intensity > 0.01))
    count = crackles.shape[0]
    size = 0.16 * at(gain, crackles) * torch.exp(0.9 * take.normal(count))
    fall = torch.exp(0.6 * take.normal(count)) * 0.0009
    snap = take.clicks(crackles, size, fall, 0.008)
    snap = snap + take.rings(crackles, size, 1200.0 * torch.exp(0.6 * take.normal(count)), 1.5 * fall, length_s=0.012)
    pops = take.events((0.6 + 6.0 * intensity * (0.5 + reach)) * (intensity > 0.01))
    count = pops.shape[0]
    size = 0.5 * at(gain, pops) * torch.exp(0.5 * take.normal(count))
    fall = take.uniform(count, low=0.004, high=0.014)
    pop = take.rings(pops, size, take.uniform(count, low=220.0, high=900.0), fall, length_s=0.06)
    return roar + hiss + snap + pop + take.clicks(pops, size, 0.15 * fall)


def rain(take: Take, intensity: Tensor) -> Tensor:
    """A bed of hiss, drops too dense to count and, between them, droplets that ring in puddles."""
    gain = loudness(intensity)
    gust = 1.0 + 0.12 * take.wander(0.6)
    bed = take.noise(tilted(1500.0, 13000.0, -1.0)) * gust * gain * 0.065
    low = take.noise(band(400.0, 1600.0, 1.0)) * gust * gain * intensity * 0.022
    drops = take.events((60.0 + 500.0 * intensity) * (intensity > 0.01))
    count = drops.shape[0]
    size = 0.055 * at(gain, drops) * torch.exp(0.7 * take.normal(count))
    pitch = take.uniform(count, low=2500.0, high=9500.0)
    patter = take.rings(drops, size, pitch, take.uniform(count, low=0.0005, high=0.0015), length_s=0.005)
    puddles = take.events((3.0 + 14.0 * intensity) * (intensity > 0.01))
    count = puddles.shape[0]
    size = 0.11 * at(gain, puddles) * torch.exp(0.5 * take.normal(count))
    plink = take.rings(
        puddles,
        size,
        take.uniform(count, low=1400.0, high=4200.0),
        take.uniform(count, low=0.003, high=0.012),
        rise=0.05,
        length_s=0.04,
    )
    return bed + low + patter + plink


def splash(take: Take, intensity: Tensor) -> Tensor:
    """Waves that wash up and run out, and slaps of water with a short trail of bubbles."""
    gain = loudness(intensity)
    period = take.number(1.4, 2.8)
    phase = torch.cumsum((1.0 + 0.3 * take.wander(1.0)).clamp(min=0.3) / period, 0) / take.sample_rate
    phase = 2.0 * math.pi * (phase + take.number(0, 1))
    swell = (0.5 + 0.5 * phase.cos()).pow(2.5)
    foam = (0.5 + 0.5 * (phase - 0.9).cos()).pow(4.0)
    wash = take.noise(tilted(180.0, 2400.0, -3.0)) * (0.03 + swell) * 0.11 * gain
    wash = wash + take.noise(band(2200.0, 8000.0, 1.0)) * (0.02 + foam) * 0.05 * gain
    slaps = take.events((0.8 + 4.0 * intensity) * (intensity > 0.01))
    size = at(gain, slaps) * torch.exp(0.4 * take.normal(slaps.shape[0]))
    body = take.noise(tilted(250.0, 3500.0, -2.0)) * take.decays(slaps, size, 0.09, 0.012) * 0.30
    spray = take.noise(band(2500.0, 10000.0, 1.0)) * take.decays(slaps, size, 0.16, 0.03) * 0.12
    trail = take.decays(slaps, size, 0.22, 0.06)
    bubbles = take.events((60.0 * trail).clamp(max=100.0))
    count = bubbles.shape[0]
    ring = take.rings(
        bubbles,
        0.20 * at(trail, bubbles) * torch.exp(0.4 * take.normal(count)),
        take.uniform(count, low=500.0, high=2200.0),
        take.uniform(count, low=0.005, high=0.02),
        rise=0.25,
        length_s=0.06,
    )
    return wash + body + spray + ring


def mud(take: Take, intensity: Tensor) -> Tensor:
    """Squelches in a sticky rhythm: a bubbly band that is swept down and back up, and a plop where it lets go."""
    gain = loudness(intensity)
    steps = take.beats((1.3 + 3.2 * intensity) * (intensity > 0.01), 0.05)
    size = at(gain, steps) * torch.exp(0.3 * take.normal(steps.shape[0]))
    grip = take.decays(steps, size, 0.10, 0.05)
    shape = take.decays(steps, torch.ones(steps.shape[0]), 0.09, 0.08).clamp(max=1.2)
    lift = take.number(500.0, 900.0)
    gargle = (1.0 + 0.9 * torch.sin(6.0 * take.wander(0.03))).clamp(min=0.0)
    wet = take.resonance(170.0 + lift * shape, 90.0) * gargle * grip * 0.34
    wet = wet + take.resonance(420.0 + 2.1 * lift * (1.2 - shape), 160.0) * gargle * grip * 0.13
    suck = take.noise(band(90.0, 450.0)) * grip * 0.16
    release = steps + (take.uniform(steps.shape[0], low=0.10, high=0.22) * take.sample_rate).long()
    keep = release < take.samples
    release, size = release[keep], size[keep]
    count = release.shape[0]
    plop = take.rings(
        release,
        0.55 * size,
        take.uniform(count, low=130.0, high=330.0),
        take.uniform(count, low=0.02, high=0.04),
        rise=0.7,
        length_s=0.14,
    )
    blobs = take.events((3.0 + 16.0 * intensity) * (intensity > 0.01))
    count = blobs.shape[0]
    blob = take.rings(
        blobs,
        0.16 * at(gain, blobs) * torch.exp(0.5 * take.normal(count)),
        take.uniform(count, low=160.0, high=520.0),
        take.uniform(count, low=0.008, high=0.02),
        rise=0.5,
        length_s=0.08,
    )
    return wet + suck + plop + blob


def thunder(take: Take, intensity: Tensor) -> Tensor:
    """A tearing crack after each stroke, later and duller with distance, a rumble that rolls on, rain far behind."""
    starts, sizes = take.strokes()
    far = at(take.factor("depth"), starts)
    sizes = sizes * loudness(at(intensity, starts), 16.0)
    starts = starts + ((0.05 + 0.75 * far) * take.sample_rate).long()
    keep = starts < take.samples
    starts, sizes, far = starts[keep], sizes[keep], far[keep]
    near = sizes * (1.0 - far).square()
    tears = (starts[:, None] + (take.uniform(starts.shape[0], 6) * 0.22 * take.sample_rate).long()).flatten()
    tear_sizes = (near[:, None] * torch.exp(-3.0 * torch.rand(starts.shape[0], 6, generator=take.generator))).flatten()
    crack = take.noise(band(900.0, 7000.0, 1.0)) * take.decays(tears, tear_sizes, 0.035, 0.001) * 0.75
    clap = take.noise(tilted(120.0, 1600.0, -3.0)) * take.decays(starts, sizes * (1.1 - far), 0.20, 0.008) * 0.42
    roll = (1.0 + 0.65 * take.wander(0.07)).clamp(min=0.05)
    claps = take.decays(starts, sizes * (1.1 - far), 0.35, 0.02)
    tearing = take.noise(band(500.0, 3500.0, 1.0)) * roll.square() * claps * 0.12
    echo = take.noise(tilted(50.0, 500.0, -4.0)) * roll * take.decays(starts, sizes, take.number(0.6, 1.0), 0.06) * 0.30
    deep = take.noise(tilted(28.0, 140.0, -3.0)) * roll * take.decays(starts, sizes, take.number(1.4, 2.4), 0.15) * 0.22
    rolling = take.noise(tilted(35.0, 170.0, -3.0)) * roll.square() * loudness(intensity, 22.0) * 0.06
    shower = take.noise(tilted(1800.0, 9000.0, -2.0)) * loudness(intensity, 12.0) * 0.022
    return crack + clap + tearing + echo + deep + rolling + shower


def underwater(take: Take, intensity: Tensor) -> Tensor:
    """Muffled rumble and streams of bubbles, each a damped sine that rises as it climbs (Minnaert, 1933)."""
    reach = take.factor("reach")
    depth = take.factor("depth")
    gain = loudness(intensity)
    muffle = take.noise(tilted(30.0, 260.0, -4.0)) * (1.0 + 0.25 * take.wander(0.5)) * loudness(intensity, 10.0) * 0.06
    current = take.resonance(190.0 + 60.0 * take.wander(0.8), 70.0) * loudness(intensity, 10.0) * 0.025
    streams = torch.exp(0.9 * take.wander(0.15) - 0.4)
    bubbles = take.events((3.0 + 55.0 * intensity * (0.4 + reach)) * streams * (intensity > 0.01))
    count = bubbles.shape[0]
    pitch = (620.0 - 250.0 * at(depth, bubbles)) * torch.exp(0.45 * take.normal(count))
    size = 0.26 * at(gain, bubbles) * torch.exp(0.5 * take.normal(count)) * (450.0 / pitch).sqrt()
    fall = 9.0 / pitch.clamp(150.0, 2500.0)
    rise = 0.25 + 0.5 * take.uniform(1).item()
    return muffle + current + take.rings(bubbles, size, pitch, fall, rise=rise, length_s=0.08)


def waterfall(take: Take, intensity: Tensor) -> Tensor:
    """Broad steady noise, fuller with `reach`, in which a few middle bands gurgle."""
    reach = take.factor("reach")
    gain = loudness(intensity)
    mass = take.noise(tilted(90.0, 5500.0, -3.0, 1.0)) * (0.95 + 0.05 * take.wander(0.15)) * gain * 0.085
    fullness = take.noise(tilted(45.0, 260.0, -2.0)) * gain * (0.25 + 0.75 * reach) * intensity * 0.055
    spray = take.noise(band(3000.0, 11000.0, 1.0)) * gain * intensity * 0.022
    gurgle = torch.zeros(take.samples)
    for centre in (340.0, 620.0, 1150.0):
        hertz = centre * torch.exp(0.18 * take.wander(0.06))
        gurgle = gurgle + take.resonance(hertz, 110.0) * torch.exp(0.8 * take.wander(0.05) - 0.3)
    return mass + fullness + spray + gurgle * gain * 0.022


def wind(take: Take, intensity: Tensor) -> Tensor:
    """Gusts that follow intensity and `lean`, and slow whistles whose pitch climbs with them."""
    lean = (2.0 * take.factor("lean") - 1.0).abs()
    gust = (intensity * (0.8 + 0.4 * lean) * (1.0 + 0.22 * take.wander(0.35))).clamp(0.0, 1.3)
    gain = loudness(gust, 24.0)
    body = take.noise(tilted(50.0, 420.0, -5.0)) * gain * 0.10
    centre = take.number(330.0, 560.0)
    whistle = take.resonance(centre * (0.6 + 0.9 * gust) * torch.exp(0.08 * take.wander(0.4)), 60.0) * 0.055
    whistle = (
        whistle
        + take.resonance(2.3 * centre * (0.6 + 0.9 * gust) * torch.exp(0.06 * take.wander(0.3)), 80.0)
        * (0.5 + 0.5 * take.wander(0.8)).clamp(min=0.0)
        * 0.035
    )
    air = take.noise(band(700.0, 2600.0, 1.0)) * gust * 0.012
    return body + (whistle + air) * gain


VOICES: dict[str, Callable[[Take, Tensor], Tensor]] = {
    "explosion": explosion,
    "fire": fire,
    "rain": rain,
    "splash": splash,
    "mud": mud,
    "thunder": thunder,
    "underwater": underwater,
    "waterfall": waterfall,
    "wind": wind,
}
assert tuple(VOICES) == SCENES

# Measured trims that bring every voice to about −19 dBFS at intensity 0.75.
TRIM_DB = {
    "explosion": -4.0,
    "fire": 3.0,
    "rain": 8.5,
    "splash": -2.5,
    "mud": -3.5,
    "thunder": -4.0,
    "underwater": 1.0,
    "waterfall": 5.5,
    "wind": 4.0,
}


def present(take: Take) -> list[str]:
    """The scenes that the clip's tracks hold at any time."""
    return [name for name in SCENES if float(take.tracks.values[:, INDEX[name]].max()) > 0.0]


def calm(take: Take) -> Tensor:
    """A quiet room, −60 to −75 dBFS, now and then exactly nothing."""
    if take.number(0, 1) < CALM_EXACT_SILENCE:
        return torch.zeros(take.samples)
    level = 10.0 ** (take.number(-75.0, -60.0) / 20.0)
    return level * take.noise(tilted(40.0, 8000.0, take.number(-5.0, 0.0)))


def record(take: Take, dry: Tensor) -> Tensor:
    """What a microphone in some room makes of the voices: reverb, colour, overall level, noise floor, no overs."""
    wet = take.recorded(dry)
    gain = 10.0 ** (take.number(-24.0, 4.0) / 20.0)
    floor = 10.0 ** (take.number(-80.0, -60.0) / 20.0) * take.noise(tilted(40.0, 12000.0, take.number(-4.0, 0.0)))
    return soft_limit(gain * wet + floor)


def synthesise(tracks: Tracks, generator: torch.Generator, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Natural sound of a clip: mono float32 `[round(seconds · sample_rate)]` within ±0.98."""
    take = Take(tracks, generator, sample_rate)
    names = present(take)
    if not names:
        return calm(take)
    dry = torch.zeros(take.samples)
    for name in names:
        dry += VOICES[name](take, take.factor(name)) * 10.0 ** (TRIM_DB[name] / 20.0)
    return record(take, dry)
