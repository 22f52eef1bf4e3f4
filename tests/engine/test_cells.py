"""Cells against the definition, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from engine.cells import Cells, colours

HEIGHT, WIDTH = 12, 24


@pytest.mark.parametrize("cell", [1, 2, 3, 4])
def test_every_pixel_of_a_cell_finds_its_place(cell: int) -> None:
    answer = np.random.default_rng(1).integers(0, 256, (HEIGHT // cell, WIDTH // cell, 4 * cell**2), np.uint8)
    picture = Cells(HEIGHT, WIDTH, cell).picture(answer)
    assert picture.shape == (HEIGHT, WIDTH, 4)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            pixel = (y % cell) * cell + x % cell
            assert np.array_equal(picture[y, x], answer[y // cell, x // cell, 4 * pixel : 4 * pixel + 4])


@pytest.mark.parametrize("grid", [(4, 8), (4, 9), (5, 10), (6, 8)])
def test_of_a_larger_grid_the_middle_is_the_picture(grid: tuple[int, int]) -> None:
    answer = np.random.default_rng(3).integers(0, 256, (*grid, 36), np.uint8)
    rows, columns = 3 * grid[0], 3 * grid[1]
    whole = Cells(rows, columns, 3).picture(answer)
    picture = Cells(HEIGHT, WIDTH, 3, grid).picture(answer)
    top, left = (rows - HEIGHT) // 2, (columns - WIDTH) // 2
    assert np.array_equal(picture, whole[top : top + HEIGHT, left : left + WIDTH])
    assert picture.flags.c_contiguous


def test_answers_that_are_not_contiguous_are_taken_and_the_picture_is_the_same_memory() -> None:
    cells = Cells(HEIGHT, WIDTH, 2)
    wide = np.random.default_rng(2).integers(0, 256, (6, 24, 16), np.uint8)
    first = cells.picture(wide[:, ::2])
    expected = first.copy()
    assert np.array_equal(Cells(HEIGHT, WIDTH, 2).picture(wide[:, ::2].copy()), expected)
    assert cells.picture(wide[:, 1::2]) is first
    assert not np.array_equal(first, expected)


def test_colours_leave_alpha_out_and_do_not_wrap() -> None:
    answer = np.full((2, 3, 16), 255, np.uint8)
    assert (colours(np.zeros_like(answer)) - colours(answer) == -255).all()
    assert colours(answer).shape == (2 * 3 * 4, 3)
