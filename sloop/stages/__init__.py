"""The stages of the loop, and what may enter a dataset."""
