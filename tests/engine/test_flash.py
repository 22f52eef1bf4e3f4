"""The flash limiter against a plain count of flashes, straight from the rule, on what it lets through."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from flash_rule import most_flashes_a_second
from numpy.typing import NDArray

from engine.audio.sources import DEMO, SoundFile
from engine.bundle import find_bundle, load_bundle
from engine.flash import FlashLimiter
from engine.offline import open_sessions, paint
from presets.compose import compose
from presets.store import PresetStore

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
@pytest.mark.parametrize(
    "pair", [(BLACK, WHITE), (GREY, WHITE), (BLACK, RED), (flat(0, 90, 0), RED), (flat(64, 0, 0), flat(24, 24, 24))]
)
@pytest.mark.parametrize("hz", [4.0, 8.0, 15.0])
def test_strobes_are_held_within_the_rule(hz: float, pair: tuple[Image, Image], fps: float) -> None:
    wanted = strobe(*pair, hz, fps, 3.0)
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


def chequered(one: Image, other: Image, squares: int) -> tuple[Image, Image]:
    """A chequerboard of so many squares down, and the same with its colours changed over."""
    side = SIZE[0] / squares
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    odd = ((y // side + x // side) % 2 == 1)[..., None]
    return np.where(odd, one, other), np.where(odd, other, one)


@pytest.mark.parametrize("hz", [4.0, 15.0])
@pytest.mark.parametrize("squares", [4, 9, 18, 36])
def test_what_is_light_and_dark_in_turns_is_a_flash_of_all_of_it(squares: int, hz: float) -> None:
    wanted = strobe(*chequered(BLACK, GREY, squares), hz, 60.0, 3.0)
    assert most_flashes_a_second(wanted, 60.0) > 3
    shown, limiter = passed(wanted, 60.0)
    assert most_flashes_a_second(shown, 60.0) <= 3
    assert limiter.limiting


def test_parts_that_flash_one_after_the_other_are_held_back() -> None:
    """Two halves of a chequerboard, each five times a second, the second a quarter of a flash after the first."""
    boards = chequered(BLACK, GREY, 9)
    wanted = [
        np.where(boards[0] > 0, *(GREY, BLACK)[:: 1 - 2 * (i // 3 % 2)])
        + np.where(boards[1] > 0, *(GREY, BLACK)[:: 1 - 2 * ((i + 1) // 3 % 2)])
        for i in range(90)
    ]
    assert most_flashes_a_second(wanted, 30.0) > 3
    shown, limiter = passed(wanted, 30.0)
    assert most_flashes_a_second(shown, 30.0) <= 3
    assert limiter.limiting


def patched(top: int, left: int, height: int, width: int) -> Image:
    image = BLACK.copy()
    image[top : top + height, left : left + width] = 255
    return image


def test_small_faint_and_bright_flicker_passes_untouched() -> None:
    small = patched(10, 20, SIZE[0] // 7, SIZE[1] // 7)  # less than a quarter of a third each way
    faint, bright = (flat(60, 60, 60), flat(90, 90, 90)), (flat(235, 235, 235), WHITE)
    for pair in ((BLACK, small), faint, bright):
        wanted = strobe(*pair, 10.0, 30.0, 3.0)
        assert most_flashes_a_second(wanted, 30.0) <= 3
        shown, limiter = passed(wanted, 30.0)
        assert limiter.limited == 0, pair[0][0, 0]
        assert len(shown) == 90


def test_over_a_quarter_of_a_field_anywhere_is_held_back() -> None:
    rng = np.random.default_rng(2)
    down, across = SIZE[0] // 3, SIZE[1] // 3
    shapes = [(down // 2 + 1, across // 2 + 2), (down, across // 4 + 2), (down // 4 + 2, across)]
    for height, width in shapes * 4:
        top, left = rng.integers(0, SIZE[0] - height), rng.integers(0, SIZE[1] - width)
        wanted = strobe(BLACK, patched(top, left, height, width), 10.0, 30.0, 2.0)
        assert most_flashes_a_second(wanted, 30.0) > 3
        shown, _ = passed(wanted, 30.0)
        assert most_flashes_a_second(shown, 30.0) <= 3, (top, left, height, width)


@pytest.fixture(scope="module")
def foam() -> list[Image]:
    """Water that falls fast: every point of it is light and dark many times a second, each at its own time."""
    rng = np.random.default_rng(3)
    drops = np.kron(rng.random((400, SIZE[1])) < 0.4, np.ones((3, 1), bool))
    images = []
    for i in range(90):
        image = flat(20, 40, 70)
        image[..., :3][np.roll(drops, 7 * i, 0)[: SIZE[0]]] = 210
        images.append(image)
    return images


def test_what_moves_on_is_no_flash(foam: list[Image]) -> None:
    assert most_flashes_a_second(foam, 30.0) > 3, "as its points have it"
    shown, limiter = passed(foam, 30.0)
    assert limiter.limited == 0
    assert all(np.array_equal(a, b) for a, b in zip(shown, foam, strict=True))


def test_a_strobe_over_what_moves_is_held_back(foam: list[Image]) -> None:
    dark = [image // 2 + 128 * (BLACK > 0) for image in foam]
    for hz in (4.0, 10.0):
        _, limiter = passed([(foam, dark)[int(2 * hz * i / 30.0) % 2][i].astype(np.uint8) for i in range(90)], 30.0)
        assert limiter.limited > 30


@pytest.mark.parametrize("preset", ["inferno", "gorge"])
def test_flames_and_foam_of_the_shipped_bundle_are_no_flashes(preset: str) -> None:
    bundle = load_bundle(find_bundle("landscape"))
    sound, place = SoundFile(DEMO), PresetStore.standard().load(preset)
    with open_sessions(bundle, threads=1) as sessions:
        controls = {**place.controls, "flash/limit": False}
        told = compose(place, bundle, serial=0)
        painting = paint(sound.mono(), sound.sample_rate, bundle, sessions, told, controls=controls, seconds=2.5)
        limiter = FlashLimiter()
        wanted = []
        for painted in painting:
            limiter.limit(painted.image, painted.seconds)
            wanted.append(painted.image.copy())
    assert most_flashes_a_second(wanted, 30.0) > 3, "as their points have it"
    assert limiter.limited == 0


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
