"""The fusion network, its settings and its checkpoints."""
