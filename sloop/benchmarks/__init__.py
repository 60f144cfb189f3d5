"""Frozen questions with a way to grade answers."""
