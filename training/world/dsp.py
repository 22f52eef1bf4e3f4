"""The few signal-processing verbs that natural sound and music are made of, all of them whole-clip torch operations.

A `Take` is one clip while it is being made. Noise is drawn directly in the frequency domain (one inverse transform per
noise), moving resonances are low-pass noise carried by a moving phase, and anything that happens many times is a grain
that `scatter` adds into the clip. Nothing loops over samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.world.factors import INDEX, SCENES, Tracks, squash

FLASH_REST = -1.5  # the value of the `flash` track between strokes
FLASH_JUMP = 0.3  # a larger rise between two points of the track is a new stroke
RESPONSE_POINTS = 4097
LONG_GRAIN = 4000  # samples; longer grains are few, and are added one by one
CONTROL_HZ = 400.0  # the rate at which slow modulation is drawn
POOR_MICROPHONE = 1 / 8

Response = Callable[[Tensor], Tensor]


def band(low: float, high: float, slope: float = 2.0) -> Response:
    """Magnitude response of a band, hertz; `slope` is the order of either side (6 dB an octave each)."""

    def response(hertz: Tensor) -> Tensor:
        hertz = hertz.clamp(min=1.0)
        return 1.0 / ((1.0 + (low / hertz) ** (2 * slope)) * (1.0 + (hertz / high) ** (2 * slope))).sqrt()

    return response


def tilted(low: float, high: float, decibels_per_octave: float, slope: float = 2.0) -> Response:
    """A band whose inside falls (or rises) by `decibels_per_octave`."""
    inside = band(low, high, slope)
    power = decibels_per_octave / 20.0 / math.log10(2.0)
    return lambda hertz: inside(hertz) * (hertz.clamp(min=1.0) / 1000.0) ** power


def fast_length(samples: int) -> int:
    """The next length that a Fourier transform likes."""
    step = 1 << max(0, samples.bit_length() - 4)
    return -(-samples // step) * step


def sampled(response: Response, bins: int, sample_rate: float) -> Tensor:
    """`response` on `bins` even steps from 0 to the Nyquist frequency, worked out every few hertz and joined up."""
    hertz = torch.linspace(0.0, 0.5 * sample_rate, min(bins, RESPONSE_POINTS))
    return torch.nn.functional.interpolate(response(hertz)[None, None], bins, mode="linear", align_corners=True)[0, 0]


def filtered(signal: Tensor, response: Response, sample_rate: float) -> Tensor:
    """`signal [n]` through a zero-phase filter."""
    size = fast_length(signal.shape[-1] + int(0.05 * sample_rate))
    gain = sampled(response, size // 2 + 1, sample_rate)
    return torch.fft.irfft(torch.fft.rfft(signal, size) * gain, size)[..., : signal.shape[-1]]


def soft_limit(signal: Tensor, knee: float = 0.6, ceiling: float = 0.98) -> Tensor:
    """Linear up to `knee`, then bent so that no sample passes `ceiling`."""
    size = signal.abs()
    room = ceiling - knee
    bent = knee + room * torch.tanh((size - knee) / room)
    return torch.where(size > knee, bent * signal.sign(), signal)


@dataclass(slots=True)
class Take:
    """One clip in the making: its tracks, its random source and its clock."""

    tracks: Tracks
    generator: torch.Generator
    sample_rate: int
    samples: int = field(init=False)
    _position: tuple[Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.samples = max(1, round(self.tracks.seconds * self.sample_rate))
        steps = self.tracks.values.shape[0]
        position = torch.arange(self.samples, dtype=torch.float64) * (self.tracks.rate / self.sample_rate)
        low = position.clamp(max=max(0.0, steps - 1.001)).floor()
        self._position = (low.long(), (position - low).clamp(0, 1).float())

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def number(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.generator))

    def factor(self, name: str) -> Tensor:
        """`[samples]` in 0..1: scene factors as they are, the others squashed."""
        track = self.tracks.values[:, INDEX[name]]
        return self.at_samples(track if name in SCENES else squash(track))

    def at_samples(self, track: Tensor) -> Tensor:
        """A curve at the tracks' rate `[T]` → `[samples]`, linear in between."""
        low, part = self._position
        step = torch.diff(track, append=track[-1:])
        return track.index_select(0, low) + part * step.index_select(0, low)

    def strokes(self) -> tuple[Tensor, Tensor]:
        """Eruptions and lightning: when they strike `[K]` in samples and how hard `[K]` in 0..1.2."""
        flash = self.tracks.values[:, INDEX["flash"]]
        before = torch.cat([torch.full((1,), min(FLASH_REST, float(flash[0]))), flash[:-1]])
        if float(flash[0]) > FLASH_REST + 1.0:
            before[0] = FLASH_REST
        at = (flash - before > FLASH_JUMP).nonzero()[:, 0]
        starts = (at.double() / self.tracks.rate * self.sample_rate).round().long()
        return starts, ((flash[at] - FLASH_REST) / 3.0).clamp(0.2, 1.2)

    def noise(self, response: Response) -> Tensor:
        """Coloured noise `[samples]` of unit power."""
        size = fast_length(self.samples)
        gain = sampled(response, size // 2 + 1, self.sample_rate)
        gain[0] = 0.0
        gain = gain * (size / (2.0 * gain.square().sum().clamp(min=1e-12)).sqrt())
        spectrum = torch.view_as_complex(self.normal(size // 2 + 1, 2)) * (gain * math.sqrt(0.5))
        return torch.fft.irfft(spectrum, size)[: self.samples]

    def wander(self, correlation_s: float) -> Tensor:
        """A smooth standard normal path `[samples]`."""
        rate = min(CONTROL_HZ, max(20.0, 8.0 / correlation_s))
        steps = math.ceil(self.samples / self.sample_rate * rate) + 1
        width = max(1, round(3 * correlation_s * rate))
        kernel = torch.exp(-0.5 * (torch.arange(-width, width + 1) / (correlation_s * rate)) ** 2)
        kernel = kernel / kernel.square().sum().sqrt()
        path = torch.nn.functional.conv1d(self.normal(1, 1, steps + 2 * width), kernel[None, None])[0, 0]
        return self._stretched(path)

    def _stretched(self, path: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(path[None, None], self.samples, mode="linear", align_corners=True)[0, 0]

    def resonance(self, hertz: Tensor, width_hz: float) -> Tensor:
        """Noise of unit power in a band `width_hz` wide around a centre that moves along `hertz [samples]`."""
        correlation = 1.0 / (math.pi * width_hz)
        phase = torch.cumsum(hertz.double(), 0) * (2.0 * math.pi / self.sample_rate)
        phase = torch.remainder(phase, 2.0 * math.pi).float()
        return self._low_pass(correlation) * phase.cos() + self._low_pass(correlation) * phase.sin()

    def _low_pass(self, correlation_s: float) -> Tensor:
        rate = min(float(self.sample_rate), 4.0 / correlation_s)
        steps = math.ceil(self.samples / self.sample_rate * rate) + 1
        kernel = torch.exp(-0.5 * (torch.arange(-6, 7) / (0.7 * correlation_s * rate)) ** 2)
        kernel = kernel / kernel.square().sum().sqrt()
        path = torch.nn.functional.conv1d(self.normal(1, 1, steps + 12), kernel[None, None])[0, 0]
        return self._stretched(path)

    def events(self, rate: Tensor) -> Tensor:
        """Times `[K]` in samples, sorted, of a Poisson process with `rate [samples]` events a second."""
        expected = torch.cumsum(rate.clamp(min=0).double(), 0) / self.sample_rate
        total = expected[-1]
        count = int(torch.poisson(total.float(), generator=self.generator))
        drawn = torch.rand(count, generator=self.generator, dtype=torch.float64).sort().values * total
        return torch.searchsorted(expected, drawn).clamp(max=self.samples - 1)

    def beats(self, rate: Tensor, jitter_s: float) -> Tensor:
        """Times `[K]` in samples of a pulse of `rate [samples]` a second, each moved by a normal `jitter_s`."""
        pulse = torch.cumsum(rate.clamp(min=0).double(), 0) / self.sample_rate + self.number(0, 1)
        at = (pulse[1:].floor() > pulse[:-1].floor()).nonzero()[:, 0]
        at = at + (self.normal(at.shape[0]) * (jitter_s * self.sample_rate)).round().long()
        return at.clamp(0, self.samples - 1)

    def seconds(self, length_s: float) -> Tensor:
        """The clock of a grain: `[round(length_s · sample_rate)]` seconds from 0."""
        return torch.arange(max(1, round(length_s * self.sample_rate))) / self.sample_rate

    def scatter(self, starts: Tensor, grains: Tensor) -> Tensor:
        """`grains [K, L]` added into a silent clip at `starts [K]`; what passes the end is cut."""
        length = grains.shape[-1]
        clip = torch.zeros(self.samples + length)
        if length > LONG_GRAIN:
            for start, grain in zip(starts.tolist(), grains.expand(starts.shape[0], length), strict=True):
                clip[start : start + length] += grain
        elif starts.shape[0]:
            index = starts[:, None] + torch.arange(length)
            clip.index_add_(0, index.flatten(), grains.expand(starts.shape[0], length).flatten())
        return clip[: self.samples]

    def decays(self, starts: Tensor, sizes: Tensor, fall_s: float, attack_s: float = 0.003) -> Tensor:
        """An envelope `[samples]`: at every start a rise of `attack_s` and an exponential fall of `fall_s`."""
        keep = starts < self.samples
        time = self.seconds(min(7.0 * fall_s + attack_s, self.samples / self.sample_rate))
        shape = torch.exp(-(time - attack_s).clamp(min=0) / fall_s)
        rising = self.seconds(attack_s).shape[0]
        shape[:rising] *= (time / attack_s).clamp(max=1.0)[:rising]
        return self.scatter(starts[keep], sizes[keep][:, None] * shape)

    def rings(
        self, starts: Tensor, sizes: Tensor, hertz: Tensor, fall_s: Tensor, rise: float = 0.0, length_s: float = 0.02
    ) -> Tensor:
        """Damped sines at `starts [K]`; their pitch grows by the part `rise` during each fall time."""
        time = self.seconds(length_s)[None]
        hertz = hertz.clamp(max=0.45 * self.sample_rate)
        turns = hertz[:, None] * (time + 0.5 * rise * time.square() / fall_s[:, None])
        attack = (time / 0.0008).clamp(max=1.0)
        shape = torch.exp(-time / fall_s[:, None]) * attack * (1.0 - time / length_s)
        return self.scatter(starts, sizes[:, None] * shape * torch.sin(2.0 * math.pi * turns))

    def clicks(self, starts: Tensor, sizes: Tensor, fall_s: Tensor, length_s: float = 0.01) -> Tensor:
        """Bursts of white noise at `starts [K]`, each falling by its own `fall_s [K]`."""
        time = self.seconds(length_s)[None]
        shape = torch.exp(-time / fall_s[:, None]) * (1.0 - time / length_s)
        return self.scatter(starts, sizes[:, None] * shape * self.normal(starts.shape[0], time.shape[1]))

    def hum(self) -> Tensor:
        """The hum of the mains `[samples]`, of unit power: 50 or 60 Hz and overtones, the even ones strong."""
        hertz = 50.0 if self.number(0, 1) < 0.5 else 60.0
        order = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])
        sizes = torch.exp(0.5 * self.normal(8) - self.number(0.2, 0.7) * order) * torch.where(order % 2 == 0, 1.5, 1.0)
        sizes = sizes / sizes.square().sum().mul(0.5).sqrt()
        turns = self.uniform(8)[:, None] + order[:, None] * hertz * self.seconds(1.0)  # whole turns a second: it loops
        second = (sizes[:, None] * torch.sin(2.0 * math.pi * turns)).sum(0)
        return second.repeat(-(-self.samples // second.shape[0]))[: self.samples]

    def room(self) -> Tensor:
        """The impulse response `[n]` of a room: direct sound, a few early echoes, a tail whose treble dies first."""
        fall = math.exp(self.number(math.log(0.02), math.log(0.35)))  # seconds; RT60 is 6.9 times as long
        wet = self.number(0.0, 0.5)
        time = self.seconds(min(6.0 * fall, 1.5))
        bass = filtered(self.normal(time.shape[0]), band(20.0, 1500.0, 1.0), self.sample_rate)
        treble = filtered(self.normal(time.shape[0]), band(1500.0, 16000.0, 1.0), self.sample_rate)
        tail = bass * torch.exp(-time / fall) + treble * torch.exp(-time / (self.number(0.35, 1.0) * fall))
        impulse = tail * (wet / tail.square().sum().sqrt())
        echoes = (self.uniform(6, low=0.002, high=0.002 + 0.25 * fall) * self.sample_rate).long()
        impulse.index_add_(0, echoes.clamp(max=time.shape[0] - 1), 0.4 * wet * self.normal(6).clamp(-1.5, 1.5))
        impulse[0] += 1.0 - wet
        return impulse

    def recorded(self, signal: Tensor) -> Tensor:
        """The clip as some microphone hears it in some room.

        The microphone has a tilt of ±2 dB an octave around 1 kHz, a low cut and a high cut; one in eight is small and
        poor (a telephone's, a toy's) and has lost the bass below 100-250 Hz and the treble above 4-8 kHz.
        """
        impulse = self.room()
        tilt = self.number(-2.0, 2.0) / 20.0 / math.log10(2.0)
        poor = self.number(0, 1) < POOR_MICROPHONE
        lows, highs = ((100.0, 250.0), (5000.0, 8000.0)) if poor else ((20.0, 90.0), (9000.0, 15500.0))
        limits = band(self.number(*lows), self.number(*highs), 1.0)
        size = fast_length(self.samples + impulse.shape[0])
        gain = sampled(
            lambda hertz: limits(hertz) * (hertz.clamp(40.0, 14000.0) / 1000.0) ** tilt, size // 2 + 1, self.sample_rate
        )
        spectrum = torch.fft.rfft(signal, size) * torch.fft.rfft(impulse, size) * gain
        return torch.fft.irfft(spectrum, size)[: self.samples]
