"""Predictions of many experiments as one small csv: rows that repeat each other lie together, numbers are short.

Risks are written with the fewest digits that keep every C-index, to the last bit; survival S with as
many digits of S or of 1 - S, whichever is smaller, as the models' float32 has.
"""

import csv
import io
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...survival.concordance import c_index
from ..predictions import COLUMNS, numbered_columns
from ..result_row import READINGS

_DIGITS = (6, 9, 17)
_SURVIVAL_DIGITS = 7  # fewer move the calibration index of a badly calibrated model
_COLUMNS = ("experiment", "reading", "fold", "patient", *COLUMNS[3:])


def table_of(predictions: Mapping[str, pd.DataFrame], exact: bool = False) -> str:
    """The predictions of all experiments as csv text, in the order of fold, patient, experiment and reading: patients
    of one cohort then repeat each other line by line. With `exact`, every number has all its digits."""
    records = []
    for experiment, table in predictions.items():
        survival = numbered_columns(table, "survival")
        risks = _texts(table, 17 if exact else _fewest(table))
        alive = [[_survival(value, exact) for value in table[column]] for column in survival]
        columns = (table[name] for name in ("reading", "fold", "patient", "time", "event", "risk_group"))
        for at, (reading, fold, patient, time, event, group) in enumerate(zip(*columns, strict=True)):
            head = (int(fold), str(patient), experiment, READINGS.index(reading))
            rest = (repr(float(time)), int(event), risks[at], group, *(column[at] for column in alive))
            records.append((head, rest))
    records.sort(key=lambda record: record[0])
    width = max((len(rest) - 4 for _, rest in records), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, *(f"survival_{j + 1}" for j in range(width))))
    for (fold, patient, experiment, reading), rest in records:
        blank = ("",) * (width + 4 - len(rest))
        writer.writerow((experiment, READINGS[reading], fold, patient, *rest, *blank))
    return text.getvalue()


def edges_of(table: pd.DataFrame) -> dict[int, tuple[float, ...]]:
    """The edges (months) of the survival columns by fold; empty where there is no survival."""
    columns = numbered_columns(table, "edge")
    first = table.drop_duplicates("fold")
    if not columns:
        return {}
    return {
        int(fold): tuple(float(edge) for edge in edges if edge == edge)
        for fold, edges in zip(first["fold"], first[columns].to_numpy(dtype=float), strict=True)
    }


def _texts(table: pd.DataFrame, digits: int) -> list[str]:
    return [repr(float(f"{risk:.{digits}g}")).removesuffix(".0") for risk in table["risk"]]


def _fewest(table: pd.DataFrame) -> int:
    for digits in _DIGITS[:-1]:
        short = np.array([float(text) for text in _texts(table, digits)])
        if all(_same(part, short[np.asarray(at)]) for part, at in _parts(table)):
            return digits
    return _DIGITS[-1]


def _parts(table: pd.DataFrame):
    for at in table.groupby(["fold", "reading"]).indices.values():
        yield table.iloc[at], at


def _same(part: pd.DataFrame, short: np.ndarray) -> bool:
    try:
        full = c_index(part["time"], part["event"], part["risk"])
    except ValueError:
        return True
    return full == c_index(part["time"], part["event"], short)


def _survival(value: float, exact: bool) -> str:
    if value != value:
        return ""
    if exact:
        return repr(float(value))
    rarer = min(abs(value), abs(1 - value)) or 1.0  # calibration is measured on log(-log S), which knows both ends
    return f"{value:.{_SURVIVAL_DIGITS - 1 - math.floor(math.log10(rarer))}f}".rstrip("0").rstrip(".")
