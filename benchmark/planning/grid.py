"""Several experiments from one command: seeds, and all combinations of what `bench ablate` varies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from ...errors import UsageError
from ...models import registry
from ...names import check_choice
from ..baselines.registry import BASELINES
from .request import Request
from .resolve import check_model, check_request


def values_of(option: str, text: str) -> tuple[str, ...]:
    """The words of a comma-separated option, each once. Errors: `UsageError` where there are none."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise UsageError(f"--{option} names nothing")
    return found


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds, separated by commas. Errors: `UsageError` for what is no whole number from 0 on."""
    words = values_of("seeds", text)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise UsageError(f"--seeds {text}: expected whole numbers from 0, separated by commas")
    return tuple(dict.fromkeys(int(word) for word in words))


def by_seed(request: Request, seeds: str) -> list[Request]:
    """The request once by seed; a baseline in which nothing is random, once. Errors: `UsageError`."""
    check_model(request.model)
    chosen = seeds_of(seeds)
    seeded = request.model not in BASELINES or BASELINES[request.model].seeded
    return [replace(request, seed=seed) for seed in (chosen if seeded else (0,))]


def grid(
    first: Request,
    model: str,
    cohort: str,
    backbone: str | None = None,
    loss: str | None = None,
    scale: str | None = None,
    seeds: str = "0",
) -> list[Request]:
    """All combinations of comma-separated values, on top of `first`; `loss` and `scale` become settings.

    A model takes no part in an axis that it does not have: only single-scale models are multiplied by `scale`, and a
    baseline is fitted once by cohort, and by seed where it depends on one. With models and baselines in one grid,
    settings go to those who know them, and covariates to clinical-cox alone where it is among them.
    Errors: `UsageError` for unknown models and values that cannot be.
    """

    def axis(option: str, text: str | None) -> Sequence[str | None]:
        return (None,) if text is None else values_of(option, text)

    models = values_of("model", model)
    for name, of in product(models, values_of("cohort", cohort)):
        check_request(replace(first, model=name, cohort=of))
    trained = [registry.get(name) for name in models if name not in BASELINES]
    if scale is not None and not any("scale" in spec.defaults for spec in trained):
        raise UsageError("--scale is for single-scale models, and none of these is one")
    mixed = 0 < len(trained) < len(models)
    cells: dict[str, Request] = {}
    backbones = axis("backbone", backbone)
    axes = (values_of("cohort", cohort), backbones, models, axis("loss", loss), axis("scale", scale), seeds_of(seeds))
    for of, encoder, name, by, at, seed in product(*axes):
        varied = {"loss": by, "scale": at}
        if name in BASELINES:
            # Of several backbones the first is simulated, or counted: a baseline reads none.
            cell = _baseline(replace(first, model=name, cohort=of, backbone=backbones[0], seed=seed), mixed)
        else:
            one = replace(first, model=name, cohort=of, backbone=encoder, seed=seed)
            if "clinical-cox" in models:
                one = replace(one, covariates=None)
            cell = _trained(one, {key: value for key, value in varied.items() if value is not None}, mixed)
        cells.setdefault(cell.command, cell)  # an axis that a model does not have gives the same cell again
    return list(cells.values())


def check_compared_with(baseline: str) -> None:
    """Errors: `UsageError` where what a grid is compared with cannot be a model, or a line's label, of ours."""
    label = baseline.partition("@")[0]  # the model, what it is joined with, and what varies in brackets
    check_choice("model", label.partition(" (")[0].partition(" + ")[0], registry.MODELS)


def _baseline(request: Request, mixed: bool) -> Request:
    baseline = BASELINES[request.model]
    seed = request.seed if baseline.seeded else 0
    if not mixed:
        return replace(request, seed=seed)
    if baseline.penalty is None:
        request = replace(request, tune=None, tune_seconds=None, inner="3", tune_workers=1)
    own = {} if baseline.penalty is None else {k: v for k, v in request.settings.items() if k == "penalty"}
    covariates = request.covariates if request.model == "clinical-cox" else None
    return replace(request, seed=seed, settings=own, covariates=covariates, recipe="default")


def _trained(request: Request, varied: Mapping[str, str], mixed: bool) -> Request:
    settings = {**request.settings, **varied}
    if registry.get(request.model).family != "single-scale":
        settings.pop("scale", None)
    if mixed:
        settings.pop("penalty", None)
    return replace(request, settings=settings)
