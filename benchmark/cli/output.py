"""Standard output of `--json`: one object and nothing else."""

import json


def print_json(value: object) -> None:
    """Print one JSON value; NaN is an error, since JSON has none."""
    print(json_text(value))


def json_text(value: object) -> str:
    """One JSON value as text; NaN is an error, since JSON has none."""
    return json.dumps(value, indent=2, allow_nan=False)
