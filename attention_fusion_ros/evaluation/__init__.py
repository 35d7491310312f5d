"""How good the answers are: metrics, baselines, held-out simulation, real drives, tables and plots."""
