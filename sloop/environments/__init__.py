"""Where tools have state: an environment is reset to a state, acts on calls, and is compared by the state it is in."""
