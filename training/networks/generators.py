"""Both generators behind one interface: the dimensions that a scale names say which network they belong to."""

from __future__ import annotations

from training.networks import stylegan2, stylegan3

Generator = stylegan2.Generator | stylegan3.Generator
GeneratorConfig = stylegan2.GeneratorConfig | stylegan3.GeneratorConfig


def create(config: GeneratorConfig) -> Generator:
    """The untrained network of these dimensions."""
    network = {stylegan2.GeneratorConfig: stylegan2.Generator, stylegan3.GeneratorConfig: stylegan3.Generator}
    return network[type(config)](config)
