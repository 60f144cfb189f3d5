"""When work is done, again or stale: stages, their identity, their folders and journals, what runs them."""
