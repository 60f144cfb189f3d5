"""Shape and meaning of a tool call: text formats, schema checks, comparators. Pure."""
