"""The curves of an experiment's risk groups: from its predictions, and as plain values that files can hold."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from ..survival.risk_groups import GroupCurves, group_curves


def curves_of(table: pd.DataFrame) -> GroupCurves | None:
    """The curves of the out-of-fold groups at `selected` of one experiment's predictions."""
    mine = table[table["reading"] == "selected"]
    return group_curves(mine["time"], mine["event"], mine["risk_group"])


def as_json(curves: GroupCurves) -> dict[str, Any]:
    """As plain values; `parse_curves` is the way back."""
    return asdict(curves)


def parse_curves(found: Mapping[str, Any]) -> GroupCurves:
    """Curves from plain values. Raises ValueError where they are none."""
    curves = msgspec.convert(found, GroupCurves)
    for group in (curves.high, curves.low):
        for values in (group.survival, group.lower, group.upper, group.at_risk):
            if len(values) != len(curves.moments) or not np.isfinite(values).all():
                raise ValueError("expected as many finite numbers as there are moments")
    return curves
