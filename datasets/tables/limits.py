"""How much a table may hold. Kept apart from what reads tables, since the command line shows it."""

MAX_BYTES = 64 << 20
"""No public label table unpacks to more than 15 MB; what unpacks to more than this is refused as a bomb."""
