"""Runs as they stand on disk: found, read, cited, projected to MLflow."""
