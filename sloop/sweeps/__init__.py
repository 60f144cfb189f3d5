"""Sweeps: the cells of a study, run by whatever launcher Hydra has, and searched by Optuna."""
