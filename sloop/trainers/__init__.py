"""What turns a checkpoint and a dataset into the next checkpoint."""
