"""Frozen benchmark data that ships with sloop."""
