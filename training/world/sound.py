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
GAIN_DB = (-24.0, 4.0)
FLOOR_DB = (-80.0, -55.0)
HUM_DB = (-75.0, -50.0)
HUMMING = 0.2  # how many clips hold the hum of the mains
CLIPPED = 0.1  # how many clips are clipped, their peaks 3-14 dB over what the input takes


def loudness(intensity: Tensor, range_db: float = LOUDNESS_RANGE_DB) -> Tensor:
    """Intensity 0..1 → gain: 1 at full, −`range_db` when faint, and nothing at 0."""
    return (intensity / 0.05).clamp(max=1.0) * 10.0 ** ((intensity - 1.0) * range_db / 20.0)


def at(curve: Tensor, starts: Tensor) -> Tensor:
    """The value of `curve [samples]` at each start `[K]`."""
    return curve[starts.clamp(0, curve.shape[0] - 1)]


def explosion(take: Take, intensity: Tensor) -> Tensor:
    """Bursts of short attack at the strokes of `flash` whose pitch drops, over a steady roar, gas jets and debris.

    Steady roar, jets that puff several times a second and patter are what tells a volcano from thunder, which rolls.
    """
    starts, sizes = take.strokes()
    gain = loudness(intensity, 18.0)
    roar = take.noise(tilted(28.0, 420.0, -3.0)) * (1.0 + 0.08 * take.wander(0.3)) * 0.13
    puffs = take.beats(take.number(5.0, 9.0) + 5.0 * intensity, 0.015)
    puff = take.decays(puffs, torch.exp(0.5 * take.normal(puffs.shape[0])), 0.045, 0.012)
    jets = take.noise(tilted(180.0, 2600.0, -3.0)) * puff * (0.5 + 0.5 * intensity) * 0.13
    blast = take.noise(tilted(60.0, 1200.0, -4.0)) * take.decays(starts, sizes, take.number(0.14, 0.26), 0.002) * 0.44
    blast = blast + take.noise(band(400.0, 9000.0, 1.0)) * take.decays(starts, sizes, 0.05, 0.001) * 0.62
    time = take.seconds(0.9)
    drop = 2.0 * math.pi * (38.0 * time + 75.0 * 0.09 * (1.0 - torch.exp(-time / 0.09)))
    boom = take.scatter(starts, 0.5 * sizes[:, None] * torch.sin(drop) * torch.exp(-time / 0.22))
    falling = take.decays(starts, sizes, 0.5, 0.12) + 0.3 * intensity
    stones = take.events((90.0 * falling * (0.4 + intensity)).clamp(max=140.0))
    count = stones.shape[0]
    size = 0.17 * at(falling, stones) * torch.exp(0.6 * take.normal(count))
    fall = take.uniform(count, low=0.003, high=0.02)
    debris = take.rings(stones, size, take.uniform(count, low=180.0, high=1400.0), fall, length_s=0.05)
    debris = debris + take.clicks(stones, 0.7 * size, 0.5 * fall)
    return (roar + jets + blast + boom + debris) * gain


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
    swell = 0.45 + 0.55 * (0.5 + 0.5 * phase.cos()).pow(2.0)  # the next wave comes before the last has run out
    foam = 0.35 + 0.65 * (0.5 + 0.5 * (phase - 0.9).cos()).pow(3.0)
    wash = take.noise(tilted(180.0, 2400.0, -3.0)) * swell * 0.12 * gain
    wash = wash + take.noise(band(2200.0, 8000.0, 1.0)) * foam * 0.04 * gain
    slaps = take.events((1.5 + 7.0 * intensity) * (intensity > 0.01))
    size = at(gain, slaps) * torch.exp(0.4 * take.normal(slaps.shape[0]))
    body = take.noise(tilted(250.0, 3500.0, -2.0)) * take.decays(slaps, size, 0.09, 0.006) * 0.20
    spray = take.noise(band(2500.0, 10000.0, 1.0)) * take.decays(slaps, size, 0.16, 0.02) * 0.09
    trail = take.decays(slaps, size, 0.22, 0.06)
    bubbles = take.events((60.0 * trail).clamp(max=100.0))
    count = bubbles.shape[0]
    ring = take.rings(
        bubbles,
        0.18 * at(trail, bubbles) * torch.exp(0.4 * take.normal(count)),
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
    """A crack after each stroke, later and duller with distance, then claps that roll on and on; a storm behind.

    Near by the crack is a snap over all pitches with a ragged tear behind it; the rumble darkens while it falls.
    Nothing in it is steady but the rain of the storm.
    """
    starts, sizes = take.strokes()
    gain = loudness(intensity, 28.0)
    far = at(take.factor("depth"), starts)
    starts = starts + ((0.05 + 0.75 * far) * take.sample_rate).long()
    keep = starts < take.samples
    starts, sizes, far = starts[keep], sizes[keep], far[keep]
    count = starts.shape[0]
    near = sizes * (1.0 - far).square()
    snap = take.noise(band(250.0, 11000.0, 1.0)) * take.decays(starts, near, 0.03, 0.001) * 1.7
    tears = (starts[:, None] + (take.uniform(count, 8).square() * 0.45 * take.sample_rate).long()).flatten()
    tear_sizes = (near[:, None] * torch.exp(-2.5 * take.uniform(count, 8))).flatten()
    tear = take.noise(band(700.0, 7000.0, 1.0)) * take.decays(tears, tear_sizes, 0.03, 0.002) * 0.35
    clap = take.noise(tilted(90.0, 1600.0, -3.0)) * take.decays(starts, sizes * (1.2 - 0.5 * far), 0.22, 0.006) * 0.24
    # The far ends of the channel are heard later: claps that roll in for seconds.
    later = (starts[:, None] + ((0.3 + 2.2 * take.uniform(count, 5)) * take.sample_rate).long()).flatten()
    later_sizes = (sizes[:, None] * (0.25 + 0.75 * take.uniform(count, 5))).flatten()
    claps = take.noise(tilted(45.0, 420.0, -3.0)) * take.decays(later, later_sizes, 0.25, 0.10) * 0.11
    roll = (1.0 + 0.6 * take.wander(0.12)).clamp(min=0.1)
    echo = take.noise(tilted(50.0, 500.0, -4.0)) * roll * take.decays(starts, sizes, take.number(0.6, 1.0), 0.03) * 0.18
    deep = take.noise(tilted(26.0, 140.0, -3.0)) * roll * take.decays(starts, sizes, take.number(1.6, 2.6), 0.15) * 0.11
    rolling = take.noise(tilted(26.0, 95.0, -5.0, 4.0)) * (1.0 + 0.6 * take.wander(0.14)).clamp(min=0.1) * 0.38
    shower = take.noise(tilted(1400.0, 7000.0, -4.0)) * 0.035
    return (snap + tear + clap + claps + echo + deep + rolling + shower) * gain


def underwater(take: Take, intensity: Tensor) -> Tensor:
    """Muffled rumble and streams of bubbles, each a damped sine that rises as it climbs (Minnaert, 1933)."""
    reach = take.factor("reach")
    depth = take.factor("depth")
    gain = loudness(intensity)
    muffle = take.noise(tilted(30.0, 260.0, -4.0)) * (1.0 + 0.15 * take.wander(0.5)) * loudness(intensity, 14.0) * 0.075
    current = take.resonance(190.0 + 60.0 * take.wander(0.8), 70.0) * loudness(intensity, 10.0) * 0.025
    streams = torch.exp(0.6 * take.wander(0.15) - 0.18)
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
    "splash": -4.0,
    "mud": -3.5,
    "thunder": -6.0,
    "underwater": 1.0,
    "waterfall": 5.5,
    "wind": 4.0,
}


def present(take: Take) -> list[str]:
    """The scenes that the clip's tracks hold at any time."""
    return [name for name in SCENES if float(take.tracks.values[:, INDEX[name]].max()) > 0.0]


def calm(take: Take) -> Tensor:
    """A quiet room, −60 to −75 dBFS, now and then with a hum in it, now and then exactly nothing."""
    if take.number(0, 1) < CALM_EXACT_SILENCE:
        return torch.zeros(take.samples)
    level = 10.0 ** (take.number(-75.0, -60.0) / 20.0)
    room = take.noise(tilted(40.0, 8000.0, take.number(-5.0, 0.0)))
    if take.number(0, 1) < HUMMING:
        share = take.number(0.1, 0.8)
        room = math.sqrt(1.0 - share) * room + math.sqrt(share) * take.hum()
    return level * room


def record(take: Take, dry: Tensor) -> Tensor:
    """What a microphone in some room makes of the voices: reverb, colour, clipping, level, noise floor, hum."""
    wet = take.recorded(dry)
    if take.number(0, 1) < CLIPPED:  # an input turned up too far, and down again behind it
        ceiling = float(wet.abs().max()) * 10.0 ** (take.number(-14.0, -3.0) / 20.0)
        wet = wet.clamp(-ceiling, ceiling)
    gain = 10.0 ** (take.number(*GAIN_DB) / 20.0)
    noise = 10.0 ** (take.number(*FLOOR_DB) / 20.0) * take.noise(tilted(40.0, 12000.0, take.number(-4.0, 0.0)))
    if take.number(0, 1) < HUMMING:
        noise = noise + 10.0 ** (take.number(*HUM_DB) / 20.0) * take.hum()
    return soft_limit(gain * wet + noise)


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
