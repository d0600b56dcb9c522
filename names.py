"""Names that users type: checked against those that exist, with the nearest one where there is none."""

from collections.abc import Iterable
from difflib import get_close_matches

from .errors import UsageError

ALIASES = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "optim": "optimizer",
    "sex": "is_female",
    "gender": "is_female",
}
"""What other tools call things, and what they are called here."""


def check_choice(kind: str, name: str, names: Iterable[str], error: type[ValueError] = UsageError) -> None:
    """Raise `error` unless `name` is one of `names`; the message has the nearest of them and lists all.

    `kind` says what is named: "recipe", "cohort", "setting".
    """
    listed = list(names)
    if name not in listed:
        raise error(f"unknown {kind} {name!r}.{did_you_mean(name, listed)} Known: {', '.join(listed)}.")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`" Did you mean learning_rate?"`, or nothing where no name is near."""
    near = closest(name, names)
    return f" Did you mean {near}?" if near else ""


def closest(name: str, names: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The one of `names` that `name` most likely stands for, or None where none is as alike as `cutoff` (0 to 1).

    Case, dashes and underscores do not matter; `lr` stands for `learning_rate` (see `ALIASES`).
    """
    by_form = {_form(known): known for known in names}
    alias = ALIASES.get(_form(name).replace("-", "_"))
    if alias and _form(alias) in by_form:
        return by_form[_form(alias)]
    near = get_close_matches(_form(name), by_form, n=1, cutoff=cutoff)
    return by_form[near[0]] if near else None


def joined_name(model: str, covariates: Iterable[str]) -> str:
    """What a model is called that is joined with covariates: `abmil + age, is_female`; itself where there are none."""
    return " + ".join(filter(None, (model, ", ".join(covariates))))


def _form(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def derived_name(backbone: str, scales: Iterable[int]) -> str:
    """What an encoder is called where some scales are no view of its own but means over its finer patches."""
    return f"{backbone} (derived {', '.join(f'{m}x' for m in scales)})"


def plain_name(backbone: str | None) -> str | None:
    """The encoder itself of a name that `derived_name` may have made."""
    return None if backbone is None else backbone.split(" (derived ")[0]


def is_derived(backbone: str | None) -> bool:
    """Whether a name is one of `derived_name`."""
    return backbone is not None and " (derived " in backbone
