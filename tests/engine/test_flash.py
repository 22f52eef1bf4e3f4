"""The flash limiter against a plain count of flashes, straight from the rule, on what it lets through."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from flash_rule import most_flashes_a_second
from numpy.typing import NDArray

from engine.flash import FlashLimiter

SIZE = (72, 128)
Image = NDArray[np.uint8]


def flat(red: int, green: int, blue: int) -> Image:
    image = np.full((*SIZE, 4), 255, np.uint8)
    image[..., :3] = (red, green, blue)
    return image


BLACK, WHITE, RED, GREY = flat(0, 0, 0), flat(255, 255, 255), flat(255, 0, 0), flat(110, 110, 110)


def strobe(one: Image, other: Image, hz: float, fps: float, seconds: float) -> list[Image]:
    """`hz` flashes a second: each is one picture and then the other."""
    return [(one, other)[int(2 * hz * i / fps + 1e-6) % 2] for i in range(round(seconds * fps))]


def passed(images: list[Image], fps: float) -> tuple[list[Image], FlashLimiter]:
    limiter = FlashLimiter()
    return [limiter.limit(image, i / fps).copy() for i, image in enumerate(images)], limiter


@pytest.mark.parametrize("fps", [30.0, 60.0])
@pytest.mark.parametrize("pair", [(BLACK, WHITE), (GREY, WHITE), (BLACK, RED), (flat(0, 90, 0), RED)])
@pytest.mark.parametrize("hz", [4.0, 8.0, 15.0])
def test_strobes_are_held_within_the_rule(hz: float, pair: tuple[Image, Image], fps: float) -> None:
    wanted = strobe(*pair, hz, fps, 4.0)
    assert most_flashes_a_second(wanted, fps) > 3
    shown, limiter = passed(wanted, fps)
    assert most_flashes_a_second(shown, fps) <= 3
    assert limiter.limiting
    assert limiter.limited > len(wanted) // 2


@pytest.mark.parametrize("pair", [(BLACK, WHITE), (BLACK, RED)])
def test_two_flashes_a_second_pass_untouched(pair: tuple[Image, Image]) -> None:
    wanted = strobe(*pair, 2.0, 30.0, 4.0)
    shown, limiter = passed(wanted, 30.0)
    assert all(np.array_equal(a, b) for a, b in zip(shown, wanted, strict=True))
    assert limiter.limited == 0


def test_faint_small_and_bright_flicker_pass_untouched() -> None:
    small = BLACK.copy()
    small[: SIZE[0] // 3, : SIZE[1] // 3] = 255  # a ninth of the picture
    faint, bright = (flat(60, 60, 60), flat(90, 90, 90)), (flat(235, 235, 235), WHITE)
    for pair in ((BLACK, small), faint, bright):
        shown, limiter = passed(strobe(*pair, 10.0, 30.0, 3.0), 30.0)
        assert limiter.limited == 0, pair[0][0, 0]
        assert len(shown) == 90


def test_half_the_picture_strobing_is_held_back() -> None:
    half = BLACK.copy()
    half[:, : SIZE[1] // 2] = 255
    shown, limiter = passed(strobe(BLACK, half, 10.0, 60.0, 3.0), 60.0)
    assert most_flashes_a_second(shown, 60.0) <= 3
    assert limiter.limited > 0


def test_noise_of_random_levels_never_breaks_the_rule() -> None:
    rng = np.random.default_rng(5)
    for _ in range(6):
        wanted = [flat(*rng.integers(0, 256, 3)) for _ in range(90)]
        shown, _ = passed(wanted, 30.0)
        assert most_flashes_a_second(shown, 30.0) <= 3


def test_after_a_strobe_the_picture_comes_back_whole() -> None:
    wanted = strobe(BLACK, WHITE, 10.0, 30.0, 2.0) + [GREY] * 60
    shown, limiter = passed(wanted, 30.0)
    assert np.array_equal(shown[-1], GREY)
    assert not limiter.limiting


def test_a_strobe_glows_between_its_two_pictures_and_does_not_stand_still_on_one() -> None:
    shown, _ = passed(strobe(BLACK, WHITE, 15.0, 60.0, 6.0), 60.0)
    late = [int(image[0, 0, 0]) for image in shown[180:]]
    assert 20 < np.mean(late) < 235
    assert max(abs(a - b) for a, b in pairwise(late)) < 90


def test_holding_back_needs_no_room_for_whole_pictures() -> None:
    """What grows a heap by a picture now and then cannot be told from a leak."""
    one, other = (np.full((576, 1024, 4), level, np.uint8) for level in (20, 230))
    limiter = FlashLimiter()
    limiter.limit(one, 0.0)
    tracemalloc.start()
    try:
        for number in range(1, 31):
            limiter.limit((one, other)[number % 2], number / 30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert limiter.limited > 15
    assert peak < one.nbytes


def test_the_picture_given_is_left_as_it_is_and_a_new_size_is_taken_at_once() -> None:
    limiter = FlashLimiter()
    wanted = strobe(BLACK, WHITE, 15.0, 30.0, 1.0)
    kept = [image.copy() for image in wanted]
    for i, image in enumerate(wanted):
        limiter.limit(image, i / 30.0)
    assert all(np.array_equal(a, b) for a, b in zip(wanted, kept, strict=True))
    other = np.full((30, 50, 4), 200, np.uint8)
    assert limiter.limit(other, 1.0) is other
