"""Training on simulated scenes and on recordings."""
