"""Comparators: is this the call that the label asks for? Pure."""
