"""Recipes: everything about how a model is trained and how an epoch is chosen, as plain values."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "cohort-bins": "time bins are fitted on the whole cohort, test set included",
        "carried-gradients": "gradients left over at the end of an epoch flow into the next one's first step",
        "dropout-in-eval": "attention dropout stays on when the model is evaluated",
    }
)
"""Defects of the reference that `--recipe reference --set faults=...` brings back on purpose, to measure them."""


@dataclass(frozen=True)
class Recipe:
    """How one fold is trained.

    name: `default` or `reference`.
    loss: name of a `SurvivalLoss`; alpha: its weight, between 0 and 1; bins: number of time bins.
    optimizer: `adam` or `adamw`; learning_rate, weight_decay: its own. learning_rate_set: whether somebody chose it;
        otherwise it is the model's own (of `reference`, the recipe's), and titles do not name it.
    schedule: `constant`, `cosine` (to 0 over all epochs, after `warmup_epochs` of linear increase) or `restarts`
        (cosine of half-period 10 epochs that rises again, as the reference runs it).
    batch: patients per optimizer step. max_norm: gradient norm at which steps are clipped; 0 = never.
    sampling: `shuffle` (every patient once an epoch), `classes` (with replacement, each (time bin, event) class
        equally likely) or `events` (every patient once, deaths dealt evenly over the batches).
    epochs: at most so many; 0 = as many as make `steps` optimizer steps, but at least 5, so that a cohort of few
        patients is trained as long as one of many.
    patience: epochs without improvement on the validation split before stopping, 0 = never.
    validation: share of the training set held out to choose the epoch; 0 = nothing is held out, and `selected` is
        the last epoch.
    select_by: `c_index` or `loss` of the validation split.
    best_after: the `best` reading ignores the first so many epochs; best_patience: it gives up after so many epochs
        without improvement, 0 = never. Both only shape that reading, never the training.
    refit: whether a model is trained again on the whole training set, validation split included, for as many epochs as
        that split chose; `selected` is then the model of that second training.
    train_patches: about how many patches of the finest magnification a bag has in training, drawn anew in every epoch,
        with the same share at the others; 0 = all. Evaluation always reads all.
    tokens: patches computed at once; a batch with more is computed in pieces, with the same result.
    precision: `auto` (bfloat16 or float16 with a scaler on a GPU, float32 on a CPU), `float32`, `bfloat16`, `float16`.
    faults: names out of `FAULTS`; only the reference recipe takes any.
    """

    name: str = "default"
    loss: str = "nll"
    alpha: float = 0.0
    bins: int = 4
    optimizer: str = "adamw"
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup_epochs: int = 1
    batch: int = 16
    max_norm: float = 1.0
    sampling: str = "events"
    epochs: int = 0
    steps: int = 300
    patience: int = 0
    validation: float = 0.2
    select_by: str = "loss"
    best_after: int = 0
    best_patience: int = 0
    refit: bool = False
    train_patches: int = 0
    learning_rate_set: bool = False
    tokens: int = 60_000
    precision: str = "auto"
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Errors: `ValueError` naming the field, its value and what it may be."""
        choices = {
            "optimizer": ("adam", "adamw"),
            "schedule": ("constant", "cosine", "restarts"),
            "sampling": ("shuffle", "classes", "events"),
            "select_by": ("c_index", "loss"),
            "precision": ("auto", "float32", "bfloat16", "float16"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} is {getattr(self, field)!r}; it may be one of {', '.join(allowed)}")
        limits = {
            "alpha": (0, 1),
            "bins": (2, 100),
            "learning_rate": (1e-9, 10),
            "weight_decay": (0, 10),
            "max_norm": (0, 1e9),
            "validation": (0, 0.5),
            **dict.fromkeys(("batch", "steps", "tokens"), (1, 10**9)),
            **dict.fromkeys(
                ("epochs", "warmup_epochs", "patience", "best_after", "best_patience", "train_patches"), (0, 10**9)
            ),
        }
        for field, (low, high) in limits.items():
            if not low <= getattr(self, field) <= high:
                raise ValueError(f"{field} is {getattr(self, field)}; it must lie between {low} and {high}")
        if self.refit and not self.validation:
            raise ValueError("refit=True needs a validation split to choose the epochs: validation is 0")
        unknown = [fault for fault in self.faults if fault not in FAULTS]
        if unknown:
            raise ValueError(f"unknown fault {', '.join(unknown)}; there are {', '.join(FAULTS)}")
        if self.faults and self.name != "reference":
            raise ValueError("faults belong to the reference's way of training: add --recipe reference")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(),
        # RustinS/CrossFusion df5473d, train.sh. Without a validation split, as there; its published number is
        # the `best` reading, chosen after 5 epochs and with a patience of 20.
        Recipe(
            name="reference",
            loss="nll-mcat",
            alpha=0.2,
            optimizer="adam",
            learning_rate=1e-4,
            weight_decay=4e-6,
            schedule="restarts",
            warmup_epochs=0,
            batch=32,
            max_norm=0.0,
            sampling="classes",
            epochs=100,
            validation=0.0,
            best_after=5,
            best_patience=20,
        ),
    )
}


_LATER: Mapping[str, object] = MappingProxyType({"refit": False, "train_patches": 0, "learning_rate_set": False})
"""Fields that came later, and what they were before: so set, they are in no id, and older ids stay."""


def id_fields(recipe: Recipe) -> dict[str, object]:
    """What an experiment's id hashes of its recipe."""
    found = asdict(recipe) | {"faults": list(recipe.faults)}
    return {key: value for key, value in found.items() if key not in _LATER or value != _LATER[key]}


TUNER = 1
"""Raised whenever a change of ours makes a tuner try or choose other settings, so that tuned rows never share an id."""
TUNED = "tuned"
"""What rows call a loss that is chosen fold by fold."""


@dataclass(frozen=True)
class Tuning:
    """How the settings of every fold are chosen, on the training set of that fold alone.

    trials: how many settings are tried, the one without tuning among them; None where time decides.
    seconds: for how long new settings are begun, by fold; None where their number decides.
    inner: how many folds the training set is divided into to compare settings; 1 = the validation split compares them.
    space: what may vary, as plain data: by name `{"choices": [...]}`, or `{"low": a, "high": b, "log": bool}`.
    shared: several workers work on one fold, so that which settings are tried depends on who is done first.
    """

    trials: int | None
    seconds: int | None
    inner: int
    space: Mapping[str, Mapping[str, object]]
    shared: bool = False

    def id_fields(self) -> dict[str, object]:
        """What the id of a tuned experiment is the hash of, beside that of the same experiment without tuning."""
        return {**asdict(self), "space": {name: dict(of) for name, of in self.space.items()}, "tuner": TUNER}

    @property
    def budget(self) -> str:
        """`30`, or `600 s`."""
        return f"{self.seconds} s" if self.trials is None else str(self.trials)


def epochs_of(recipe: Recipe, patients: int) -> int:
    """How many epochs a training set of so many patients gets at most."""
    return recipe.epochs or max(5, math.ceil(recipe.steps / math.ceil(patients / recipe.batch)))


_UNNAMED = ("name", "loss", "faults", "learning_rate_set")
"""Fields that a title does not name."""


def title(recipe: Recipe | None, tuning: Tuning | None = None) -> str | None:
    """The recipe's name, with the fields that differ from what that name stands for: `default (epochs=3)`.

    A tuned recipe is one of its own: `tuned (30)`, with what it starts from where that is not the default. A baseline,
    which has no recipe, has a title only where it is tuned.
    """
    text = [] if recipe is None else _changes(recipe)
    if tuning is not None:
        words = [tuning.budget]
        words += {1: ["validation"], 3: []}.get(tuning.inner, [f"inner={tuning.inner}"])
        words += ["shared"] * tuning.shared
        words += [recipe.name] if recipe is not None and recipe.name != "default" else []
        return f"{TUNED} ({', '.join([*words, *text])})"
    if recipe is None:
        return None
    return " ".join([recipe.name, *([f"({', '.join(text)})"] if text else [])])


def loss_of(recipe: Recipe | None, tuning: Tuning | None = None) -> str | None:
    """The loss of a recipe as rows name it: `tuned` where it is chosen fold by fold."""
    if recipe is None:
        return None
    return TUNED if tuning is not None and "loss" in tuning.space else recipe.loss


def _changes(recipe: Recipe) -> list[str]:
    """The fields that differ from what the recipe's name stands for, and its faults."""
    named = RECIPES[recipe.name]
    values = {field.name: getattr(recipe, field.name) for field in fields(Recipe) if field.name not in _UNNAMED}
    differs = {key: value != getattr(named, key) for key, value in values.items()}
    differs["learning_rate"] = recipe.learning_rate_set  # otherwise it is the model's own, whatever it is
    changed = [(key, value) for key, value in values.items() if differs[key]]
    return [*(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in changed),
            *recipe.faults]  # fmt: skip


def change(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """The recipe with fields given as text, as the command line takes them.

    Errors: `ValueError` naming a value that does not fit its field.
    """
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    parsed: dict[str, object] = {}
    for key, text in changes.items():
        if kinds[key] is tuple:
            parsed[key] = tuple(part for part in text.split(",") if part)
            continue
        if kinds[key] is bool:
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{key}={text}: expected true or false")
            parsed[key] = text.lower() == "true"
            continue
        try:
            parsed[key] = (
                kinds[key](float(text)) if kinds[key] is int and float(text).is_integer() else kinds[key](text)
            )
        except ValueError as error:
            raise ValueError(f"{key}={text}: expected {kinds[key].__name__}") from error
    return replace(recipe, **parsed)  # type: ignore[arg-type]
