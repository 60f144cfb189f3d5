"""What is trained, probed and evaluated."""
