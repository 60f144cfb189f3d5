"""Hydra configuration tree of sloop."""
