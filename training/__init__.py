"""Teaches the bundle: world, networks, losses and stages."""
