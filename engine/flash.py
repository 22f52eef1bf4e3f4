"""The flash limiter: no more than three flashes a second reach the audience.

General and red flashes as WCAG 2.2 (criterion 2.3.1, "three flashes or below threshold") and ITU-R BT.1702 count
them: pairs of opposing changes of relative luminance by a tenth or more whose darker picture is below 0.80, and pairs
of opposing changes by more than 0.2 in the chromaticity diagram of CIE 1976 UCS, one of whose colours is a saturated
red, R / (R + G + B) of 0.8 or more; concurrently over more than a quarter of any field of 10 degrees. Such a field is
taken for a third of the picture each way, wherever it lies (WCAG: 341×256 pixels of 1024×768). More than a quarter of
the whole picture, as BT.1702 has it, is more than a quarter of one of those.

Concurrently: of each field it is asked whether its picture changes, over a quarter of it, and then changes *back*. So
light and dark may lie side by side and change places, as in a chequerboard that inverts. Flames, foam, rain and grass
are no flashes, though each of their points goes up and down many times a second: each does so at its own time, and what
moves on does not come back. A change and the one that takes it back, as vectors of points, have a cosine of -1; two
changes of a texture have about -0.5. A faint flash of all of a field may lie under such a texture, so the mean
luminance of each field is held to the rule besides.

Below the rule a picture passes untouched. What would break it is mixed with the picture shown before, as little as is
needed, so that a strobe becomes a glow. While the picture that comes in keeps flashing, the one that goes out is
granted one flash a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Image = NDArray[np.uint8]
Part = tuple[float, float, float, float]

WHOLE: Part = (0.0, 0.0, 1.0, 1.0)
"""Of a picture: its upper, left, lower and right edge."""
GRID = (27, 48)
"""Points of a picture that are watched, down and across."""
SECOND_S = 1.0
TURNS = 6  # three flashes, each there and back
TURNS_LIMITING = 2
LIGHT_STEP, RED_STEP = 0.099, 0.198  # the rules' 0.1 and 0.2, less what rounding takes
BRIGHT = 0.80  # what is never darker than this does not flash
SATURATED = 0.77  # R / (R + G + B); the rule says 0.8, which a picture that is scaled or faded may cross by itself
FIELD, APART = (9, 16), (2, 4)  # points of a field, and from one that is watched to the next, down and across
BLACK = 0.001  # of white, a grey that every display adds: with it, what is nearly black lies near the white point
AREA = 0.215  # of a field; the rule allows a quarter, an eighth of which may lie beside the nearest that is watched
BACK = 0.85  # cosine between a change and the reverse of one before, from which on it is the way back
KEPT = 6  # changes of a field that are remembered: its parts may flash one after the other
MIXES = (0.25, 0.16, 0.10, 0.06, 0.03)  # of the new picture while limiting; below the last one the old one stays
ROWS = 32  # of a picture, mixed at a time: what that needs stays in the cache, and no heap grows by whole pictures

_LINEAR = np.arange(256, dtype=np.float32) / 255.0
_LINEAR = np.where(_LINEAR <= 0.04045, _LINEAR / 12.92, ((_LINEAR + 0.055) / 1.055) ** 2.4).astype(np.float32)  # sRGB
_FIELDS: Index = np.lib.stride_tricks.sliding_window_view(np.arange(GRID[0] * GRID[1]).reshape(GRID), FIELD)[
    :: APART[0], :: APART[1]
].reshape(-1, FIELD[0] * FIELD[1])
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)


class FlashLimiter:
    """Watches the pictures of one show in order. One thread.

    Attributes
    ----------
    share : of the newest picture that was mixed with the one shown before; 1 when it passed untouched.
    limiting : whether the newest picture was held back.
    limited : how many pictures were held back so far.
    """

    def __init__(self) -> None:
        self._flashes = Flashes()
        self._last: Image | None = None
        self.share = 1.0
        self.limiting = False
        self.limited = 0

    def limit(self, image: Image, now: float) -> Image:
        """The picture to show at time `now` (s) in the place of `image`, RGBA8 `[H, W, 4]`, which is left as it is.

        It is `image` itself where nothing is to be limited, else an array that is rewritten by the next call.
        """
        last = self._last
        if last is None or last.shape != image.shape:
            self.share = self._flashes.share(points(image), now, free=True)
            self._last = last = image.copy()
        else:
            self.share = self._flashes.share(points(image), now)
            mix(last, image, self.share)
        self.limiting = self.share < 1.0
        self.limited += self.limiting
        return last if self.limiting else image


class Flashes:
    """Decides how much of each picture may be shown, by some of its points. One thread.

    It keeps two histories: of what was wanted, which tells whether it still flashes, and of what was shown, which is
    held to the rule. They are one as long as nothing is held back.
    """

    def __init__(self) -> None:
        self._wanted, self._shown = _History(), _History()
        self._last: Image | None = None
        self._held_at = -np.inf
        self._apart = False

    def share(self, seen: Image, now: float, *, free: bool = False) -> float:
        """How much of the picture with these points (`points`) is to be mixed with what was shown before: 1 to 0.

        It is taken to be shown so at time `now` (s). `free`: it is shown whole, whatever it does, and counted.
        """
        if self._apart and now - self._held_at > SECOND_S:
            self._apart = False
            self._wanted.become(self._shown)
        measures = _measured(seen)
        wanted = shown = self._wanted.look(measures, now)
        if self._apart:
            shown = self._shown.look(measures, now)
        share, flashing = 1.0, self._wanted.over(wanted, now, TURNS)
        if self._last is not None and not free and (flashing or (self._apart and self._shown.over(shown, now, TURNS))):
            if not self._apart:
                self._apart = True
                self._shown.become(self._wanted)
            self._held_at = now
            for share in (*MIXES, 0.0):
                glow = self._last.copy()
                mix(glow, seen, share)
                shown = self._shown.look(_measured(glow), now)
                if not self._shown.over(shown, now, TURNS_LIMITING if flashing else TURNS):
                    break
            seen = glow
        self._wanted.take(wanted, now)
        if self._apart:
            self._shown.take(shown, now)
        self._last = seen
        return share


class _Measure(NamedTuple):
    """One measure of the colours in every field. `values` `[numbers, fields, points]`, in units of the step that
    counts; `counts` `[fields, points]`: whether a change from or to this colour does."""

    values: Float32
    counts: Bool


class _Change(NamedTuple):
    """What a picture changes. `moved`: the numbers of the fields where it is enough, `[m]`; of those, by how much, `by`
    `[numbers, m, points]`, and whether they come back by it, `turned` `[m]`."""

    measure: _Measure
    moved: Index
    by: Float32
    turned: Bool


class _History:
    """The pictures of the last second, as far as they count."""

    def __init__(self) -> None:
        points = FIELD[0] * FIELD[1]
        self._turns = (_Turns(1, points), _Turns(1, 1), _Turns(2, points))

    def look(self, measures: Sequence[_Measure], now: float) -> list[_Change]:
        """What changes with a picture at time `now`, by every measure."""
        light, mean, red = measures
        change = self._turns[0].look(light, now)
        moved = np.isin(np.arange(len(_FIELDS)), change.moved)
        return [change, self._turns[1].look(mean, now, moved), self._turns[2].look(red, now)]

    def over(self, changes: Sequence[_Change], now: float, budget: int) -> bool:
        """Whether a field would turn more than `budget` times in a second."""
        return any(turns.over(change, now, budget) for turns, change in zip(self._turns, changes, strict=True))

    def take(self, changes: Sequence[_Change], now: float) -> None:
        """The picture is shown at `now`: remember."""
        for turns, change in zip(self._turns, changes, strict=True):
            turns.take(change, now)

    def become(self, other: _History) -> None:
        """The same as the other one from now on."""
        for turns, others in zip(self._turns, other._turns, strict=True):
            turns.become(others)


class _Turns:
    """When each field last turned by one measure: changed over a part of it by a step, and back.

    A change is measured from the lowest or the highest value, whichever is farther, that a point had since the field
    changed before.
    """

    def __init__(self, numbers: int, points: int) -> None:
        fields = len(_FIELDS)
        self._begun = False
        self._low, self._high = (np.zeros((numbers, fields, points), np.float32) for _ in range(2))
        self._counts = np.zeros((fields, points), np.bool_)
        self._changes = np.zeros((KEPT, numbers, fields, points), np.float32)  # the newest first
        self._times = np.full((TURNS, fields), -np.inf)  # of the last turns, the oldest first
        self._until = np.full(fields, -np.inf)

    def over(self, change: _Change, now: float, budget: int) -> bool:
        """Whether a field would turn more than `budget` times in a second."""
        again = change.turned & (self._times[TURNS - budget, change.moved] > now - SECOND_S)
        return bool(again.any() or (self._until > now).any())

    def look(self, measure: _Measure, now: float, where: Bool | bool = True) -> _Change:
        """What changes with a picture at time `now`, in those fields only `where` that is true."""
        up, down = measure.values - self._low, self._high - measure.values
        size = np.maximum(up, down)
        large = (np.einsum("nfp,nfp->fp", size, size) >= 1.0) & (measure.counts | self._counts)
        moved = np.flatnonzero((np.count_nonzero(large, axis=1) >= AREA * large.shape[1]) & where & self._begun)
        up, down = up[:, moved], down[:, moved]
        by = np.where(up > down, up, -down)
        turned = self._times[-1, moved] <= now - SECOND_S  # out of rest
        turned |= self._back(by, large[moved], moved)
        return _Change(measure, moved, by, turned)

    def _back(self, by: Float32, large: Bool, fields: Index) -> Bool:
        """Which of these fields come back: their points, where the change is large, last changed together the other
        way."""
        back, rest, change = np.zeros(len(fields), np.bool_), np.arange(len(fields)), by * large
        size = _product(change, change)
        for kept in self._changes:
            if not len(rest):
                break
            before = kept[:, fields[rest]]
            along = _product(before, change[:, rest])
            before *= large[rest]
            alike = np.square(along) > BACK**2 * size[rest] * _product(before, before)
            back[rest] = alike & (along < 0.0)
            rest = rest[~alike]
        return back

    def take(self, change: _Change, now: float) -> None:
        """The picture is shown at `now`: remember."""
        moved, turned = change.moved, change.moved[change.turned]
        often = turned[self._times[0, turned] > now - SECOND_S]
        self._until[often] = self._times[0, often] + SECOND_S
        self._times[:-1, turned] = self._times[1:, turned]
        self._times[-1, turned] = now
        self._changes[1:, :, moved] = self._changes[:-1, :, moved]
        self._changes[0][:, moved] = change.by
        values, counts = change.measure
        np.minimum(self._low, values, out=self._low)
        np.maximum(self._high, values, out=self._high)
        self._counts |= counts
        fields = moved if self._begun else slice(None)
        self._low[:, fields] = self._high[:, fields] = values[:, fields]
        self._counts[fields] = counts[fields]
        self._begun = True

    def become(self, other: _Turns) -> None:
        """The same as the other one from now on."""
        self._begun = other._begun
        for name in ("_low", "_high", "_counts", "_changes", "_times", "_until"):
            np.copyto(getattr(self, name), getattr(other, name))


def points(image: Image, part: Part = WHOLE) -> Image:
    """The points of a part of a picture `[H, W, 3 or 4]` that are watched, uint8 `[*GRID, 3]`; fewer pixels than that
    repeat."""
    rows, columns = _places(*image.shape[:2], part)
    return image[rows, columns, :3]


def mix(last: Image, new: Image, share: float) -> None:
    """Mixes `share` of the new picture into the last one, uint8 `[H, W, n]`; in whole numbers, an eighth of the time
    that floats would take."""
    weight = round(share * 256)
    if weight == 256:
        last[:] = new
    for top in range(0, len(last) if 0 < weight < 256 else 0, ROWS):
        old, fresh = last[top : top + ROWS], new[top : top + ROWS]
        old[:] = (old.astype(np.uint16) * (256 - weight) + fresh.astype(np.uint16) * weight + 128) >> 8


def _measured(seen: Image) -> tuple[_Measure, ...]:
    """Luminance of each point, of each field as a whole, and chromaticity of each point."""
    rgb = _LINEAR[seen.reshape(-1, 3)].T
    x, light, z = _XYZ @ rgb
    lights = light[_FIELDS][np.newaxis]
    mean = lights.mean(axis=2, keepdims=True)
    x, y, z = (value + np.float32(BLACK) * white for value, white in zip((x, light, z), _XYZ.sum(1), strict=True))
    chroma = np.stack([4 * x, 9 * y]) / (np.float32(RED_STEP) * (x + 15 * y + 3 * z))
    red = rgb[0] + BLACK >= SATURATED * (rgb[0] + rgb[1] + rgb[2] + 3 * BLACK)
    return (
        _Measure(lights / np.float32(LIGHT_STEP), lights[0] < BRIGHT),
        _Measure(mean / np.float32(LIGHT_STEP), mean[0] < BRIGHT),
        _Measure(np.take(chroma, _FIELDS, axis=1), red[_FIELDS]),
    )


def _product(one: Float32, other: Float32) -> Float32:
    """Of two changes in each field, `[numbers, fields, points]` each: `[fields]`."""
    product: Float32 = np.einsum("nfp,nfp->f", one, other)
    return product


@lru_cache(maxsize=8)
def _places(height: int, width: int, part: Part) -> tuple[Index, Index]:
    """Rows, as a column, and columns of the watched points of a picture."""
    top, left, bottom, right = part
    rows = (top + (bottom - top) * (np.arange(GRID[0]) + 0.5) / GRID[0]) * height
    columns = (left + (right - left) * (np.arange(GRID[1]) + 0.5) / GRID[1]) * width
    return rows.astype(np.intp)[:, np.newaxis], columns.astype(np.intp)
