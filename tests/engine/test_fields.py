"""Flowing fields against a bilinear reference: the picture moves by exactly the offset, whole places or not; the fine
ones by whole pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import make_tiny_bundle

from engine.bundle import load_bundle
from engine.fields import FieldFlow, shrunk

HEIGHT, WIDTH, CELL = 20, 12, 4  # more rows than are moved at once


def tiles(count: int = 3) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (count, HEIGHT, WIDTH), np.uint8)


def pixels() -> np.ndarray:
    """The fine tiles, of the first and the third field."""
    return np.random.default_rng(5).integers(0, 256, (2, CELL * HEIGHT, CELL * WIDTH), np.uint8)


def flowing(count: int, velocities: object, drives: object) -> FieldFlow:
    """Without fine fields."""
    return FieldFlow(tiles(count), velocities, drives, pixels()[:0], [])


def shown(flow: FieldFlow) -> np.ndarray:
    """What the generator makes of a sample, `[F, H, W]`."""
    sample = flow.sample()
    fields, fraction = sample["fields"], sample["fraction"]
    f = fields[0].astype(np.float64)
    fy, fx = fraction[0, :, 0, None, None].astype(np.float64), fraction[0, :, 1, None, None].astype(np.float64)
    upper = (1 - fx) * f[:, :-1, :-1] + fx * f[:, :-1, 1:]
    lower = (1 - fx) * f[:, 1:, :-1] + fx * f[:, 1:, 1:]
    return np.asarray((1 - fy) * upper + fy * lower)


def bilinear(tile: np.ndarray, offset_y: float, offset_x: float) -> np.ndarray:
    """`tile` read at (y − offset_y, x − offset_x), wrapping, interpolated: the definition, pixel by pixel."""
    out = np.empty(tile.shape)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            at_y, at_x = (y - offset_y) % HEIGHT, (x - offset_x) % WIDTH
            y0, x0 = int(at_y) % HEIGHT, int(at_x) % WIDTH
            y1, x1 = (y0 + 1) % HEIGHT, (x0 + 1) % WIDTH
            fy, fx = at_y - int(at_y), at_x - int(at_x)
            top = (1 - fx) * tile[y0, x0] + fx * tile[y0, x1]
            bottom = (1 - fx) * tile[y1, x0] + fx * tile[y1, x1]
            out[y, x] = (1 - fy) * top + fy * bottom
    return out


@settings(max_examples=40, deadline=None)
@given(y=st.floats(0, 1, exclude_max=True), x=st.floats(0, 1, exclude_max=True))
def test_sample_is_the_tile_at_the_offset(y: float, x: float) -> None:
    flow = flowing(1, [(0, 0)], [0])
    flow.seek([(y, x)])
    np.testing.assert_allclose(shown(flow)[0], bilinear(tiles(1)[0], y * HEIGHT, x * WIDTH), atol=2e-3)


def test_positive_velocity_flows_down_and_right() -> None:
    flow = flowing(2, [(1 / HEIGHT, 0), (0, 1 / WIDTH)], [0, 0])
    flow.advance(1.0, speed=1.0, level=0.0)
    np.testing.assert_allclose(shown(flow)[0], np.roll(tiles(2)[0], 1, axis=0), atol=1e-3)
    np.testing.assert_allclose(shown(flow)[1], np.roll(tiles(2)[1], 1, axis=1), atol=1e-3)


def test_motion_is_continuous_over_pixels_and_wrap() -> None:
    flow = flowing(3, [(0.7, -0.3), (-1.1, 0.9), (0.0, 0.2)], [0, 0, 0])
    dt = 0.002
    largest = max(1.1 * HEIGHT, 0.9 * WIDTH) * dt * 255 * 2  # pixels moved in a step, times the steepest edge there is
    before = shown(flow)
    for _ in range(1200):
        flow.advance(dt, speed=1.0, level=0.0)
        now = shown(flow)
        assert np.abs(now - before).max() <= largest
        before = now


def test_a_thousand_small_steps_are_one_long_one() -> None:
    small, long = (flowing(1, [(0.31, -0.17)], [0.5]) for _ in range(2))
    for _ in range(1000):
        small.advance(0.01, speed=1.5, level=0.4)
    long.advance(10.0, speed=1.5, level=0.4)
    np.testing.assert_allclose(small.offsets, long.offsets, atol=1e-9)


def test_level_drives_and_speed_scales() -> None:
    flow = flowing(1, [(0.1, 0.0)], [1.0])
    flow.advance(1.0, speed=1.0, level=0.0)
    calm = flow.offsets[0, 0]
    flow.seek([(0, 0)])
    flow.advance(1.0, speed=2.0, level=1.0)
    assert flow.offsets[0, 0] == pytest.approx(4 * calm)
    flow.advance(1.0, speed=0.0, level=1.0)
    assert flow.offsets[0, 0] == pytest.approx(4 * calm)


def test_seek_repeats_a_picture() -> None:
    flow = flowing(3, [(0.7, -0.3), (-1.1, 0.9), (0.0, 0.2)], [0, 1, 0])
    flow.advance(0.37, 1.0, 0.5)
    offsets, before = flow.offsets, shown(flow)
    flow.advance(5.0, 1.0, 0.5)
    assert not np.array_equal(shown(flow), before)
    flow.seek(offsets)
    np.testing.assert_array_equal(shown(flow), before)


def fine(flow: FieldFlow) -> np.ndarray:
    """The pixels of the fine fields, taken out of their cells, `[Fd, H, W]`."""
    cells = flow.sample()["detail"].reshape(HEIGHT, WIDTH, -1, CELL, CELL)
    return cells.transpose(2, 0, 3, 1, 4).reshape(-1, CELL * HEIGHT, CELL * WIDTH)


@settings(max_examples=60, deadline=None)
@given(y=st.floats(-1, 1), x=st.floats(-1, 1))
def test_fine_fields_move_by_the_nearest_whole_pixel(y: float, x: float) -> None:
    flow = FieldFlow(tiles(), [(0, 0)] * 3, [0] * 3, pixels(), [0, 2])
    flow.seek([(y, x), (0, 0), (x, y)])
    for shift, tile, found in zip(((y, x), (x, y)), pixels(), fine(flow), strict=True):
        down, right = shift[0] * CELL * HEIGHT, shift[1] * CELL * WIDTH
        nearest = [(a, b) for a in (np.floor(down), np.ceil(down)) for b in (np.floor(right), np.ceil(right))]
        near = [(a, b) for a, b in nearest if abs(a - down) <= 0.5 + 1e-6 and abs(b - right) <= 0.5 + 1e-6]
        assert any(np.array_equal(found, np.roll(tile, (int(a), int(b)), (0, 1))) for a, b in near)


def test_a_fine_field_stays_with_its_own_average() -> None:
    y, x = np.mgrid[: CELL * HEIGHT, : CELL * WIDTH]
    waves = (2 * np.pi * (a * y / (CELL * HEIGHT) + b * x / (CELL * WIDTH)) for a, b in ((2, 1), (1, -3)))
    tile = np.stack([np.round(127.5 + 127.5 * np.sin(wave)) for wave in waves]).astype(np.uint8)
    average = tile.reshape(2, HEIGHT, CELL, WIDTH, CELL).mean((2, 4)).round().astype(np.uint8)
    flow = FieldFlow(average, [(0.31, -0.17), (-0.2, 0.4)], [0.5, 1.0], tile, [0, 1])
    for _ in range(20):
        flow.advance(0.05, speed=1.3, level=0.7)
        coarse = fine(flow).reshape(2, HEIGHT, CELL, WIDTH, CELL).mean((2, 4))
        assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97 for a, b in zip(coarse, shown(flow), strict=True))


def test_sample_shapes_types_and_the_same_buffers() -> None:
    flow = FieldFlow(tiles(), [(0.1, 0.1)] * 3, [0] * 3, pixels(), [0, 2])
    first = flow.sample()
    assert {name: (array.shape, array.dtype.name) for name, array in first.items()} == {
        "fields": ((1, 3, HEIGHT + 1, WIDTH + 1), "uint8"),
        "fraction": ((1, 3, 2), "float32"),
        "detail": ((1, HEIGHT, WIDTH, 2 * CELL**2), "uint8"),
    }
    flow.advance(3.3, 1.0, 0.0)
    again = flow.sample()
    for name, array in first.items():
        assert again[name] is array  # a session binds it once
        assert array.flags.c_contiguous


@pytest.mark.parametrize(("height", "width"), [(10, 6), (20, 12), (5, 3)])
def test_whole_pixels_shrink_to_their_averages(height: int, width: int) -> None:
    by_y, by_x = HEIGHT // height, WIDTH // width
    averages = tiles().reshape(3, height, by_y, width, by_x).mean((2, 4))
    np.testing.assert_array_equal(shrunk(tiles(), height, width), np.rint(averages))


def covered(before: int, after: int) -> np.ndarray:
    """`[after, before]`: how much of each pixel a new one covers, as a share of the new one."""
    edges = np.arange(after + 1) * before / after
    pixels = np.arange(before)
    shares = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(shares, 0.0) * after / before


@pytest.mark.parametrize(("height", "width"), [(13, 11), (14, 8), (1, 5)])
def test_parts_of_pixels_count_as_parts(height: int, width: int) -> None:
    found = shrunk(tiles(), height, width)
    expected = covered(HEIGHT, height) @ tiles().astype(np.float64) @ covered(WIDTH, width).T
    assert (found.shape, found.dtype) == ((3, height, width), np.uint8)
    assert np.abs(found - expected).max() <= 0.51
    assert np.abs(found.mean((1, 2)) - tiles().mean((1, 2))).max() < 0.5, "as bright as before"


def test_shrinking_does_not_reach_around_the_edge() -> None:
    tile = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    tile[:, 0], tile[:, :, 0] = 255, 255
    found = shrunk(tile, 13, 8)
    assert not found[:, 1:, -1].any()
    assert not found[:, -1, 1:].any()
    assert np.array_equal(shrunk(np.full_like(tile, 255), 13, 8), np.full((1, 13, 8), 255))


def test_fields_of_the_coarser_grid(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path, small=True))
    small = bundle.manifest.image.small
    assert small is not None
    whole, fewer = FieldFlow.of(bundle), FieldFlow.of(bundle, small=True)
    for flow, graph in ((whole, "generator"), (fewer, "small")):
        wanted = bundle.manifest.graphs[graph].inputs
        found = {name: (array.shape, array.dtype.name) for name, array in flow.sample().items()}
        assert found == {name: (spec.shape, spec.dtype) for name, spec in wanted.items() if name != "w_plus"}
        flow.advance(0.3, 1.5, 0.4)
    np.testing.assert_array_equal(whole.offsets, fewer.offsets)
    coarse = fewer.sample()["fields"][0, :, :-1, :-1]
    assert np.abs(coarse.mean((1, 2)) - whole.sample()["fields"][0, :, :-1, :-1].mean((1, 2))).max() < 1.0
