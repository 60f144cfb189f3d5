"""Who writes data: the protocol, and a teacher that is a model behind an endpoint."""
