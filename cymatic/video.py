"""Writes an MP4 of pictures and their sound: H.264 and AAC, muxed as they come, through PyAV.

    with Mp4Writer(path, (576, 1024), 30, sample_rate=48_000) as film:
        for picture, block in ...:
            film.sound(block)
            film.picture(picture)

Memory does not grow with the length as long as sound and pictures are handed over in turns of a few seconds at most:
the muxer holds back what is ahead of the other. The file appears whole under its name when the writer closes; one that
is left by an exception leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engine.errors import CymaticError

try:
    import av
    from av.video.reformatter import ColorRange, Colorspace
except ImportError as error:
    raise CymaticError("films need PyAV: pip install av") from error

__all__ = ["Mp4Writer"]

CODEC, PIXELS = "libx264", "yuv420p"  # what every player can show
QUALITY = 18  # x264's constant rate factor: differences are not seen
SPEED = "veryfast"
SOUND_CODEC, SOUND_BITS = "aac", 192_000
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
BT709 = 1  # H.273: primaries and transfer function of HD video


class Mp4Writer:
    """One MP4 in the making. One thread owns it.

    Parameters
    ----------
    path : the file to write; its folder must exist.
    size : `(height, width)` of the pictures; an odd edge is repeated once, since 4:2:0 counts in twos.
    fps : frames a second, kept as the nearest fraction with a denominator up to 1001.
    sample_rate : of the sound, Hz; None makes a silent film. A rate that AAC lacks is resampled to 48 kHz.
    channels : 1 or 2.
    threads : of the video encoder; 0 lets it choose.

    Raises `CymaticError`, one line, when the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float | Fraction,
        *,
        sample_rate: int | None = None,
        channels: int = 1,
        threads: int = 0,
    ) -> None:
        self.path, self.size = path, size
        self.frames = self.samples = 0  # handed over so far
        rate = Fraction(fps).limit_denominator(1001)
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".mp4")
        except OSError as error:
            raise CymaticError(f"{path} cannot be written: {error.strerror or error}") from error
        os.close(handle)
        self._temporary = Path(name)
        try:
            self._file = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
            self._video = self._file.add_stream(CODEC, rate, options={"crf": str(QUALITY), "preset": SPEED})
            self._video.height, self._video.width = (edge + edge % 2 for edge in size)
            self._video.pix_fmt = PIXELS
            self._video.thread_count = threads
            context = self._video.codec_context
            context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
            context.color_primaries = context.color_trc = BT709
            self._audio = None
            if sample_rate is not None:
                layout = "mono" if channels == 1 else "stereo"
                kept = sample_rate if sample_rate in AAC_RATES else 48_000
                self._audio = self._file.add_stream(SOUND_CODEC, kept, layout=layout)
                self._audio.bit_rate = SOUND_BITS
                self._resampler = av.AudioResampler("fltp", layout, kept)
                self._sample_rate, self._layout = sample_rate, layout
        except Exception:
            self.discard()
            raise

    def picture(self, pixels: NDArray[np.uint8]) -> None:
        """The next frame: uint8 `[H, W, 3]` or `[H, W, 4]` (alpha is left out). It is copied."""
        if pixels.dtype != np.uint8 or pixels.shape[:2] != self.size or pixels.shape[2:] not in ((3,), (4,)):
            raise ValueError(f"expected uint8 [{self.size[0]}, {self.size[1]}, 3 or 4], got {list(pixels.shape)}")
        odd = self.size[0] % 2, self.size[1] % 2
        if any(odd):
            pixels = np.pad(pixels, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        shown = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(pixels), format="rgb24" if pixels.shape[2] == 3 else "rgba"
        )
        frame = shown.reformat(
            format=PIXELS, dst_colorspace=Colorspace.ITU709, src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )  # fmt: skip
        frame.pts, frame.time_base = self.frames, 1 / self._video.codec_context.framerate
        self._mux(self._video.encode(frame))
        self.frames += 1

    def sound(self, samples: NDArray[np.float32]) -> None:
        """The next samples: float32, full scale ±1, `[n]`, or `[n, channels]`. They are copied."""
        if self._audio is None:
            raise ValueError("this film was made without a sample rate: it is silent")
        if not len(samples):
            return
        block = np.ascontiguousarray(samples.reshape(len(samples), -1).T, np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts = self._sample_rate, self.samples
        frame.time_base = Fraction(1, self._sample_rate)
        for part in self._resampler.resample(frame):
            self._mux(self._audio.encode(part))
        self.samples += len(samples)

    def close(self) -> None:
        """Write what the encoders still hold, and put the file under its name. Raises `CymaticError`."""
        try:
            if self._audio is not None:
                if self.samples:
                    for part in self._resampler.resample(None):
                        self._mux(self._audio.encode(part))
                self._mux(self._audio.encode(None))
            self._mux(self._video.encode(None))
            self._file.close()
            os.chmod(self._temporary, 0o644)  # mkstemp makes it private; films are there to be shared
            os.replace(self._temporary, self.path)
        except (OSError, av.FFmpegError) as error:
            self.discard()
            raise self._refused(error) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Give up: nothing is left of the film. Harmless twice, and after a failed `close`."""
        with contextlib.suppress(OSError, av.FFmpegError, AttributeError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _mux(self, packets: list[av.Packet]) -> None:
        try:
            self._file.mux(packets)
        except (OSError, av.FFmpegError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> CymaticError:
        return CymaticError(f"{self.path} cannot be written: {getattr(error, 'strerror', None) or error}")
