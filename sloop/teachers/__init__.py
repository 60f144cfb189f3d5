"""Who writes and judges data: templates, a simulated annotator, a judge of rules."""
