"""Repair labels, expand failures, compose the next training set."""
