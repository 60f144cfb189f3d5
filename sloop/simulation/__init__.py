"""What pretends to be a person or a model: templates, a grammar, values, noise."""
