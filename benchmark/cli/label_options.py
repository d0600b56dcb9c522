"""The options of label tables, which every command that reads labels takes: type and default are `TypedOptions`'."""

from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar

from ...datasets.own_cohorts.typed_options import TypedOptions
from . import options as o

LABEL_OPTIONS: dict[str, Any] = {
    "endpoint": o.Endpoint,
    "columns": o.Columns,
    "unusable_times": o.UnusableTimes,
    "sheet": o.Sheet,
    "slide_table": o.SlideTable,
    "status_words": o.StatusWords,
    "table_mib": o.TableMib,
}
"""The option of every field of `TypedOptions`."""

Command = TypeVar("Command", bound=Callable[..., None])


def with_label_options(command: Command) -> Command:
    """Give a command, which takes them as `**label_words`, all of `LABEL_OPTIONS`."""
    own = [p for p in signature(command, eval_str=True).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    shared = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=LABEL_OPTIONS[field.name])
        for field in fields(TypedOptions)
    ]
    needed = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own if p.default is Parameter.empty]
    rest = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own if p.default is not Parameter.empty]
    everything = [*needed, *shared, *rest]
    command.__signature__ = Signature(everything)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    return command
