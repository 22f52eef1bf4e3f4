"""What faders, blackouts, test card, look and a crop make of a calm picture, judged as it is seen by the plain rule."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from flash_rule import most_flashes_a_second

from engine.finish import Finish, Shown
from engine.look import NEUTRAL, Look
from engine.present import draw_test_card
from engine.watch import BLACKOUTS, Watch

FPS = 60.0
SIZE = (72, 128)
Image = np.ndarray


def flat(*rgb: int) -> Image:
    image = np.full((*SIZE, 4), 255, np.uint8)
    image[..., :3] = rgb
    return image


SKY = flat(120, 170, 230)


def finished(shown: Iterable[Shown]) -> tuple[list[Image], Finish]:
    finish = Finish()
    return [finish.show(each) for each in shown], finish


def every(levels: Iterable[float], rgba: Image = SKY) -> list[Shown]:
    return [Shown(rgba, i / FPS, level) for i, level in enumerate(levels)]


def pressed(hz: float, seconds: float, low: float = 0.0) -> list[float]:
    """So many times a second down and up again."""
    return [(1.0, low)[int(2 * hz * i / FPS + 1e-6) % 2] for i in range(round(seconds * FPS))]


@pytest.mark.parametrize("low", [0.0, 0.4])
@pytest.mark.parametrize("hz", [5.0, 15.0])
def test_a_fader_that_flashes_is_held_back(hz: float, low: float) -> None:
    faded = every(pressed(hz, 4.0, low))
    free = [Finish().show(each) for each in faded]
    assert most_flashes_a_second(free, FPS) > 3
    shown, finish = finished(faded)
    assert most_flashes_a_second(shown, FPS) <= 3
    assert finish.limiting


@pytest.mark.parametrize("levels", [pressed(2.5, 3.0), pressed(15.0, 3.0, 0.93), list(np.linspace(1, 0, 180))])
def test_what_a_hand_does_is_done_at_once(levels: list[float]) -> None:
    shown, _ = finished(every(levels))
    for image, level in zip(shown, levels, strict=True):
        assert np.abs(image[..., :3] - SKY[..., :3] * level).max() <= 0.5


def test_three_blackouts_a_second_are_black_at_once_and_more_of_them_glow() -> None:
    levels = pressed(6.0, 2.0)
    shown, _ = finished(every(levels))
    begins = [i for i in range(1, len(levels)) if levels[i] < levels[i - 1]]
    brightest = [int(shown[i][..., :3].max()) for i in begins]
    assert brightest[:BLACKOUTS] == [0] * BLACKOUTS
    assert min(brightest[BLACKOUTS:6]) > 0
    light = np.array([image[..., 1].mean() for image in shown])
    assert np.abs(np.diff(light))[begins[BLACKOUTS] :].max() < 60, "they glow"
    assert most_flashes_a_second(shown, FPS) <= 3


def test_a_blackout_is_not_delayed_by_a_picture_that_flashes() -> None:
    """However much light and look flash meanwhile, and however much of it is held back."""
    looks = (Look(contrast=0.0), Look(contrast=2.0))
    pictures = flat(30, 30, 30), flat(220, 220, 220)
    for hz in (3.0, 12.0):
        before = [int(2 * hz * i / FPS) % 2 for i in range(150)]
        flashing = [Shown(pictures[on], i / FPS, look=looks[on]) for i, on in enumerate(before)]
        shown, _ = finished([*flashing, Shown(pictures[0], 150 / FPS, 0.0, looks[0])])
        assert shown[-2][..., :3].max() > 0
        assert shown[-1][..., :3].max() == 0


def test_the_last_word_stands_once_it_is_no_flash() -> None:
    """What was held back is shown whole after a while, without a newer picture."""
    shown, finish = finished(every([*pressed(15.0, 2.0), 1.0, 0.0]))
    assert shown[-1].max() > 0
    assert finish.limiting
    last, held = shown[-1], 0
    while finish.limiting:
        held += 1
        last = finish.again((len(shown) + held) / FPS)
    assert held / FPS < 2.0
    assert last[..., :3].max() == 0
    assert finish.again(99.0) is last, "nothing is computed for what stands"


def test_a_test_card_that_comes_and_goes_is_held_back() -> None:
    sky = np.kron(SKY, np.ones((2, 2, 1), np.uint8))
    card = draw_test_card(*sky.shape[:2])
    both = [Shown((sky, card)[i // 2 % 2], i / FPS) for i in range(180)]
    shown, finish = finished(both)
    assert most_flashes_a_second([each.rgba for each in both], FPS) > 3
    assert most_flashes_a_second(shown, FPS) <= 3
    assert finish.limiting


@pytest.mark.parametrize("look", [Look(vignette=1.0), Look(contrast=0.0), Look(mirror="vertical"), Look(hue=180.0)])
def test_a_look_that_comes_and_goes_is_held_back(look: Look) -> None:
    picture = flat(230, 60, 60)
    picture[: SIZE[0] // 4] = 20
    both = [Shown(picture, i / FPS, look=(NEUTRAL, look)[i // 3 % 2]) for i in range(180)]
    assert most_flashes_a_second([Finish().show(each) for each in both], FPS) > 3
    shown, finish = finished(both)
    assert most_flashes_a_second(shown, FPS) <= 3
    assert finish.limiting


def test_while_it_is_off_nothing_is_held_back() -> None:
    for level, shown in zip(
        levels := pressed(15.0, 2.0),
        finished(Shown(SKY, i / FPS, level, limit=False) for i, level in enumerate(levels))[0],
        strict=True,
    ):
        assert (shown[..., :3].max() > 0) == (level > 0.0)


def test_a_small_part_of_the_picture_may_flash_unless_it_is_all_that_is_seen() -> None:
    strip = flat(0, 0, 0)
    strip[:, 60:67] = 255  # a part in eighteen of the picture
    part = (0.0, 0.4, 1.0, 0.6)

    def limited(*part: tuple[float, float, float, float]) -> int:
        watch = Watch()
        for i in range(120):
            watch.share((flat(0, 0, 0), strip)[i // 2 % 2], 1.0, NEUTRAL, i / FPS, *part)
        return watch.limited

    assert limited() == 0
    assert limited(part) > 90


def test_light_that_lingers_is_watched_as_it_is_seen() -> None:
    """Trails fill the dark between two flashes, so these are none on the display."""
    look = Look(trails=1.0)
    both = [Shown(flat(*(3 * [(0, 255)[i // 3 % 2]])), i / FPS, look=look) for i in range(120)]
    shown, finish = finished(both)
    assert most_flashes_a_second(shown, FPS) <= 3
    assert not finish.limiting
    assert min(image[..., 0].mean() for image in shown[10:]) > 200
