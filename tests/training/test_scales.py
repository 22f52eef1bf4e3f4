"""Scales: all are offered, and their dimensions say which network they train."""

from __future__ import annotations

import argparse

import pytest
import torch
from one_thread import one_thread  # noqa: F401

from cymatic.train import add_parser
from training import generator
from training.networks import stylegan2, stylegan3
from training.networks.generators import create
from training.scales import SCALES
from training.world import factors


def test_the_command_offers_every_scale() -> None:
    parser = add_parser(argparse.ArgumentParser().add_subparsers())
    (scale,) = (action for action in parser._actions if action.dest == "scale")
    assert tuple(scale.choices or ()) == tuple(SCALES)


@pytest.mark.parametrize(("name", "network"), [("smoke", stylegan2.Generator), ("smoke-3", stylegan3.Generator)])
def test_dimensions_name_their_network(name: str, network: type) -> None:
    painter = create(SCALES[name].generator)
    assert type(painter) is network
    assert painter.size_at(painter.max_depth) == SCALES[name].generator.size
    assert max(phase.depth for phase in SCALES[name].phases) == painter.max_depth


@torch.no_grad()
def test_stylegan3_begins_with_the_sun_where_the_world_has_it() -> None:
    """A later time of day lifts the sun's plane, and only that one."""
    painter = create(SCALES["smoke-3"].generator)
    generator.place(painter)
    w = torch.zeros(2, painter.config.dim)
    w[1, factors.INDEX["time_of_day"]] = 1.0
    way = painter.places(w)[..., 2:].diff(dim=0)[0]
    assert float(way[1, 0]) == pytest.approx(-0.152), "half of 0.304: the picture is one height, and −1..1"
    way[1, 0] = 0.0
    assert float(way.abs().max()) == 0.0
