"""Rules about one answer, from the request, the offered tools and the answer alone."""
