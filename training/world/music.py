"""Music-like sound from the same factors, by stated cross-modal correspondences.

A set is drums, bass, pads and sweeps, not rain and wind. Each scene has a way of playing that people tend to match with
it: pitch height goes with brightness, loudness with size, roughness with heat, hiss with rain, low and muffled with
depth, slow breathy tones with air (sources in `docs/world.md`).

| scene | how it is played |
|---|---|
| explosion | a drop: hard distorted kicks and bass, crash and sub drop at every eruption |
| fire | rough detuned saws in the middle, fast irregular crackling hats |
| rain | hat rolls and shaker hiss, high sparse plucks |
| splash | washes of filtered noise and bright chords that swell and run out |
| mud | a squelching resonant bass line in the dub manner, half-time drums |
| thunder | toms and huge gated snares at every stroke over a dark drone |
| underwater | deep sine pads and soft rising blips behind a low-pass |
| waterfall | an unbroken white-noise riser over a fast, even arpeggio |
| wind | a breathy pad and a flute that bends |

Intensity drives loudness, density and brightness. Under most of them runs a groove (kick and hats) at its own level, so
that a beat names no scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from training.world.dsp import Take, band, soft_limit, tilted
from training.world.factors import SCENES, Tracks
from training.world.sound import SAMPLE_RATE, at, calm, loudness, present, record, synthesise

SLOWEST_BPM, FASTEST_BPM = 60.0, 180.0
MINOR = (0, 3, 5, 7, 10, 12)
MAJOR = (0, 4, 7, 11, 14)
DARK = (0, 1, 7, 8)


class Song:
    """A take with a tempo, a key and instruments. Every instrument returns `[samples]`."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.beat_s = 60.0 / (SLOWEST_BPM * (FASTEST_BPM / SLOWEST_BPM) ** take.number(0, 1))
        self.root = 41.2 * 2.0 ** take.number(0, 1)  # hertz, E1..E2
        strokes, _ = take.strokes()
        offset = int(strokes[0]) / take.sample_rate if strokes.shape[0] else take.number(0, self.beat_s)
        self.offset_s = offset % (16.0 * self.beat_s)

    def steps(self, per_beat: float) -> Tensor:
        """Start samples `[K]` of all steps of a grid with `per_beat` steps a beat."""
        step = self.beat_s / per_beat * self.take.sample_rate
        first = self.offset_s * self.take.sample_rate % step
        return (torch.arange(0.0, max(0.0, self.take.samples - first), step=step, dtype=torch.float64) + first).long()

    def thinned(self, starts: Tensor, density: Tensor) -> Tensor:
        """Only some of the steps: each stays with the probability `density [samples]` of its moment."""
        return starts[self.take.uniform(starts.shape[0]) < at(density, starts)]

    def held(self, per_beat: float, values: Tensor) -> Tensor:
        """`values [M]` played in a loop, one a step, held between: `[samples]`."""
        time = torch.arange(self.take.samples) / self.take.sample_rate - self.offset_s + 64 * self.beat_s
        return values[(time * (per_beat / self.beat_s)).long() % values.shape[0]]

    def notes(self, count: int, scale: tuple[int, ...], octave: float) -> Tensor:
        """`count` drawn notes of a scale, hertz, `octave` octaves above the root."""
        drawn = torch.randint(len(scale), (count,), generator=self.take.generator)
        return self.root * 2.0 ** (torch.tensor(scale)[drawn] / 12.0 + octave)

    def tone(self, hertz: Tensor, cutoff: Tensor, harmonics: int, resonance: float = 0.7, odd: bool = False) -> Tensor:
        """A saw (or a square, `odd`) through a resonant low-pass that moves, built from its harmonics."""
        phase = torch.cumsum(hertz.double(), 0) * (2.0 * math.pi / self.take.sample_rate)
        phase = torch.remainder(phase, 2.0 * math.pi).float() + self.take.number(0, 2.0 * math.pi)
        sound = torch.zeros(self.take.samples)
        ratio = hertz / cutoff.clamp(min=20.0)
        for k in range(1, harmonics + 1, 2 if odd else 1):
            square = (k * ratio).square()
            gain = ((1.0 - square).square() + square / resonance**2).rsqrt()
            sound += torch.sin(k * phase) * gain * ((k * hertz < 0.45 * self.take.sample_rate) / k)
        return 0.5 * sound

    def kick(self, starts: Tensor, sizes: Tensor, fall_s: float = 0.14) -> Tensor:
        time = self.take.seconds(5.0 * fall_s)
        turns = 47.0 * time + 130.0 * 0.03 * (1.0 - torch.exp(-time / 0.03))
        grain = torch.sin(2.0 * math.pi * turns) * torch.exp(-time / fall_s)
        click = self.take.clicks(starts, 0.15 * sizes, torch.full((starts.shape[0],), 0.0015))
        return self.take.scatter(starts, 0.8 * sizes[:, None] * grain) + click

    def snare(self, starts: Tensor, sizes: Tensor, fall_s: float = 0.07) -> Tensor:
        body = self.take.rings(
            starts,
            0.35 * sizes,
            torch.full((starts.shape[0],), 190.0),
            torch.full((starts.shape[0],), 0.05),
            length_s=0.12,
        )
        return body + self.take.noise(band(900.0, 8000.0, 1.0)) * self.take.decays(starts, sizes, fall_s, 0.001) * 0.30

    def hats(self, starts: Tensor, sizes: Tensor, fall_s: float = 0.02) -> Tensor:
        return self.take.noise(band(6500.0, 14000.0)) * self.take.decays(starts, sizes, fall_s, 0.0008) * 0.22

    def plucks(self, starts: Tensor, sizes: Tensor, hertz: Tensor, fall_s: float, rise: float = 0.0) -> Tensor:
        fall = torch.full((starts.shape[0],), fall_s)
        length = 4.0 * fall_s
        sound = self.take.rings(starts, 0.5 * sizes, hertz, fall, rise, length)
        return sound + self.take.rings(starts, 0.2 * sizes, 2.0 * hertz, 0.6 * fall, rise, length)

    def pad(self, scale: tuple[int, ...], octave: float, cutoff: Tensor, harmonics: int, bars: float = 1.0) -> Tensor:
        """Three drawn voices, detuned, that change chord every `bars` bars."""
        sound = torch.zeros(self.take.samples)
        for _ in range(3):
            hertz = self.held(0.25 / bars, self.notes(4, scale, octave)) * (1.0 + 0.004 * self.take.wander(0.5))
            sound += self.tone(hertz, cutoff, harmonics)
        return sound / 3.0

    def duck(self, starts: Tensor, depth: float) -> Tensor:
        """The gain of whatever makes room for the kick."""
        return 1.0 - depth * self.take.decays(starts, torch.ones(starts.shape[0]), 0.10).clamp(max=1.0)


def groove(song: Song, intensity: Tensor) -> Tensor:
    """Kick and hats that any style may have beneath it."""
    take, gain = song.take, loudness(intensity)
    kicks = song.steps(1.0 if take.number(0, 1) < 0.7 else 0.5)
    hats = song.thinned(song.steps(2.0), 0.3 + 0.7 * intensity)
    return song.kick(kicks, at(gain, kicks)) + 0.6 * song.hats(hats, at(gain, hats))


def explosion(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    starts, sizes = take.strokes()
    kicks = song.steps(1.0)
    drums = song.kick(kicks, at(gain, kicks), 0.2)
    bass = song.tone(song.held(2.0, song.notes(8, DARK, 0.0)), 250.0 + 1400.0 * intensity, 24, 1.5)
    bass = torch.tanh(4.0 * (bass * song.duck(kicks, 0.8) + 0.7 * drums)) * gain
    sizes = sizes * loudness(at(intensity, starts), 14.0)
    crash = take.noise(tilted(300.0, 9000.0, -2.0)) * take.decays(starts, sizes, 0.5, 0.002) * 0.35
    return 0.32 * bass + 0.4 * drums + crash + 1.3 * song.kick(starts, sizes, 0.45)


def fire(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    hertz = song.held(2.0, song.notes(16, MINOR, 2.0))
    cutoff = 700.0 + 2600.0 * intensity
    saws = song.tone(hertz * 1.011, cutoff, 20) + song.tone(hertz * 0.989, cutoff, 20)
    phase = 2.0 * math.pi * torch.cumsum(35.0 + 25.0 * intensity, 0) / take.sample_rate
    rough = torch.tanh(3.0 * saws) * (1.0 - (0.3 + 0.5 * intensity) * (0.5 + 0.5 * phase.sin()))
    crackle = take.events((8.0 + 70.0 * intensity * (0.5 + take.factor("reach"))) * (intensity > 0.01))
    sizes = at(gain, crackle) * torch.exp(0.7 * take.normal(crackle.shape[0]))
    snaps = take.clicks(crackle, 0.30 * sizes, torch.full((crackle.shape[0],), 0.0015))
    hats = song.thinned(song.steps(8.0), 0.15 + 0.5 * intensity)
    return 0.17 * rough * gain + snaps + song.hats(hats, at(gain, hats), 0.008)


def rain(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    rolls = song.thinned(song.steps(8.0), 0.25 + 0.75 * intensity)
    accents = at(gain, rolls) * take.uniform(rolls.shape[0], low=0.4, high=1.0)
    shaker = take.noise(band(4500.0, 13000.0, 1.0)) * (1.0 + 0.3 * take.wander(0.2)) * gain * 0.05
    drops = song.thinned(song.steps(4.0), 0.05 + 0.45 * intensity)
    high = song.notes(drops.shape[0], MINOR, 5.0)
    return 1.2 * song.hats(rolls, accents, 0.012) + shaker + song.plucks(drops, 0.16 * at(gain, drops), high, 0.05)


def splash(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    beats = 4.0 if song.beat_s < 0.6 else 2.0
    time = torch.arange(take.samples) / take.sample_rate - song.offset_s
    phase = 2.0 * math.pi * time / (beats * song.beat_s)
    swell = 0.4 + 0.6 * (0.5 + 0.5 * phase.cos()).pow(2.0)
    foam = 0.3 + 0.7 * (0.5 + 0.5 * (phase - 0.9).cos()).pow(3.0)
    wash = take.noise(tilted(250.0, 2200.0, -3.0)) * swell * 0.13 + take.noise(band(2200.0, 8000.0, 1.0)) * foam * 0.06
    chords = song.pad(MAJOR, 2.0, 500.0 + 2200.0 * swell, 10) * swell
    crashes = song.thinned(song.steps(1.0), 0.1 + 0.8 * intensity)
    crash = take.noise(band(1500.0, 9000.0, 1.0)) * take.decays(crashes, at(gain, crashes), 0.25, 0.03) * 0.11
    return (wash + 0.20 * chords) * gain + crash


def mud(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    steps = song.thinned(song.steps(4.0), 0.35 + 0.6 * intensity)
    shape = take.decays(steps, torch.ones(steps.shape[0]), 0.11, 0.02).clamp(max=1.2)
    hertz = song.held(2.0, song.notes(8, MINOR, 0.6))
    squelch = song.tone(hertz, 110.0 + (250.0 + 900.0 * intensity) * shape, 22, 7.0) * (0.25 + shape)
    half = song.steps(0.5)
    drums = 0.4 * song.kick(half, at(gain, half), 0.22)
    return 0.20 * torch.tanh(1.2 * squelch) * gain + drums


def thunder(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    starts, sizes = take.strokes()
    sizes = sizes * loudness(at(intensity, starts), 18.0)
    gate = take.scatter(starts, sizes[:, None] * torch.ones(round(0.38 * take.sample_rate)))
    reverb = take.noise(tilted(150.0, 6000.0, -3.0)) * gate * 0.26
    toms = song.thinned(song.steps(4.0), 0.35 + 0.65 * intensity)
    tuned = take.uniform(toms.shape[0], low=55.0, high=120.0)
    roll = take.rings(toms, 0.5 * at(gain, toms), tuned, torch.full((toms.shape[0],), 0.16), -0.1, 0.5)
    drone = song.pad(DARK, 0.0, 130.0 + 150.0 * intensity, 6, 2.0)
    return (
        reverb
        + song.snare(starts, 1.3 * sizes, 0.10)
        + 0.7 * song.kick(starts, sizes, 0.4)
        + roll
        + 0.36 * drone * gain
    )


def underwater(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    muffled = 150.0 + 200.0 * intensity
    ground = song.tone(song.held(0.25, song.notes(4, MINOR, 0.0)), muffled, 2)
    deep = song.pad(MINOR, 0.5, muffled, 4, 2.0) + 0.8 * ground
    sway = 1.0 + 0.25 * take.wander(0.5)
    blips = song.thinned(song.steps(4.0), 0.10 + 0.6 * intensity * (0.4 + take.factor("reach")))
    high = song.notes(blips.shape[0], MINOR, 3.0)
    return 0.30 * deep * sway * loudness(intensity, 10.0) + song.plucks(blips, 0.40 * at(gain, blips), high, 0.035, 0.4)


def waterfall(song: Song, intensity: Tensor) -> Tensor:
    take, gain = song.take, loudness(intensity)
    bar = 16.0 * song.beat_s
    rise = ((torch.arange(take.samples) / take.sample_rate + take.number(0, bar)) % bar) / bar
    low = take.noise(tilted(120.0, 1800.0, -2.0)) * (1.0 - 0.5 * rise)
    white = take.noise(tilted(500.0, 12000.0, -2.0)) * (0.35 + 0.65 * rise) * (0.3 + 0.7 * intensity)
    steps = song.steps(4.0)
    run = song.notes(16, MINOR, 3.0)[torch.arange(steps.shape[0]) % 16]
    return (0.10 * low + 0.09 * white) * gain + song.plucks(steps, 0.10 * at(gain, steps), run, 0.06)


def wind(song: Song, intensity: Tensor) -> Tensor:
    take = song.take
    lean = (2.0 * take.factor("lean") - 1.0).abs()
    gust = (intensity * (0.85 + 0.3 * lean) * (1.0 + 0.15 * take.wander(0.4))).clamp(0.0, 1.2)
    gain = loudness(gust)
    bend = 1.0 + 0.03 * take.wander(0.25)
    melody = song.held(0.5, song.notes(8, MINOR, 3.0)) * bend
    flute = song.tone(melody, 1.6 * melody, 3) * (0.6 + 0.4 * take.wander(0.6)).clamp(0.0, 1.5)
    breath = take.resonance(melody, 70.0) * 0.10 + take.resonance(2.0 * melody, 110.0) * 0.05
    air = take.resonance(song.held(0.25, song.notes(4, MINOR, 3.6)) * bend, 50.0) * 0.08
    body = take.noise(tilted(80.0, 500.0, -4.0)) * 0.05
    return (0.11 * flute + breath + air + body) * gain


STYLES: dict[str, Callable[[Song, Tensor], Tensor]] = {
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
assert tuple(STYLES) == SCENES

# Measured trims that bring every style to about −18 dBFS at intensity 0.75.
TRIM_DB = {
    "explosion": -7.0,
    "fire": 2.0,
    "rain": 8.0,
    "splash": 6.5,
    "mud": 4.0,
    "thunder": -4.0,
    "underwater": 2.5,
    "waterfall": 6.5,
    "wind": 2.5,
}
GROOVE_DB = (-24.0, -6.0)  # the range of the groove's level against the style's
GROOVELESS = 0.35  # how many clips go without


def play(take: Take) -> Tensor:
    """The music of a take, before room and microphone: `[samples]`."""
    song = Song(take)
    names = present(take)
    dry = torch.zeros(take.samples)
    for name in names:
        dry += STYLES[name](song, take.factor(name)) * 10.0 ** (TRIM_DB[name] / 20.0)
    if names and take.number(0, 1) > GROOVELESS:
        strongest = torch.stack([take.factor(name) for name in names]).amax(0)
        dry += groove(song, strongest) * 10.0 ** (take.number(*GROOVE_DB) / 20.0)
    return soft_limit(dry, 0.5, 0.95)


def synthesise_music(tracks: Tracks, generator: torch.Generator, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Music of a clip: mono float32 `[round(seconds · sample_rate)]` within ±0.98."""
    take = Take(tracks, generator, sample_rate)
    return record(take, play(take)) if present(take) else calm(take)


def synthesise_any(
    tracks: Tracks, generator: torch.Generator, sample_rate: int = SAMPLE_RATE, music: float = 0.35
) -> Tensor:
    """Natural sound, or music with probability `music`, a third of that time both at once."""
    drawn = float(torch.rand(1, generator=generator))
    if drawn >= music:
        return synthesise(tracks, generator, sample_rate)
    if drawn >= music / 3.0:
        return synthesise_music(tracks, generator, sample_rate)
    share = 0.3 + 0.4 * float(torch.rand(1, generator=generator))
    natural = synthesise(tracks, generator, sample_rate)
    return soft_limit((1.0 - share) * natural + share * synthesise_music(tracks, generator, sample_rate))
