"""Other people's StyleGANs: their checkpoints read without running a line, as networks and bundles of our own."""
