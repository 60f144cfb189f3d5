"""What says who is wrong: rules, or a model."""
