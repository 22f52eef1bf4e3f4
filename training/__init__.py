"""Everything that learns: the synthetic world, the networks, one file a training stage, evaluation."""
