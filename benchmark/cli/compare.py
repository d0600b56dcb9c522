"""`bench compare`: which differences on the board survive."""


def compare() -> None:
    """To come."""
