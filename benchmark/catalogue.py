"""What `bench list` shows, as plain rows.

Descriptions of models and losses stand beside their code, which needs torch: what is listed of ours is kept in
`listed.json`, which `docs/write_reference.py` writes, so that a list is there at once.
"""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..datasets.backbones import BACKBONES
from ..datasets.cohorts import CDR, COHORTS, CPTAC, SIMULATED
from ..datasets.features.known_sets import KNOWN_SETS
from ..models.registry import MODELS
from ..models.spec import ModelSpec
from .recipe import RECIPES
from .tuning.spaces import PENALTY, TRAINING, described, values

if TYPE_CHECKING:
    from .training.loss import SurvivalLoss

LISTED = Path(__file__).with_name("listed.json")

Rows = list[dict[str, object]]

OWN_RATE = "the model's own"
"""What is shown as the learning rate of the default recipe."""


def models() -> Rows:
    """Every model of the registry, and every baseline; `tuned` is what `--tune` varies of each beside `tuning`."""
    from .baselines.registry import BASELINES
    from .experiment import FAMILY

    ours = {str(row["name"]): row for row in _listed("models")}
    return [ours.get(name) or model_row(MODELS[name]) for name in MODELS] + [
        {
            "name": baseline.name,
            "title": baseline.title,
            "scales": "none",
            "family": FAMILY,
            "needs": "",
            "learning_rate": "",
            "tuned": "" if baseline.penalty is None else described({"penalty": PENALTY}),
            "reference": "docs/baselines.md",
        }
        for baseline in BASELINES.values()
    ]


def model_row(spec: ModelSpec) -> dict[str, object]:
    """What is shown of a model."""
    return {
        "name": spec.name,
        "title": spec.title,
        "scales": "5, 10 or 20" if spec.family == "single-scale" else ", ".join(map(str, spec.scales)),
        "family": spec.family,
        "needs": "coordinates" if spec.places else "",
        "learning_rate": spec.learning_rate,
        "tuned": described(spec.search_space),
        "reference": spec.reference,
    }


def cohorts() -> Rows:
    """Every cohort, with the counts of its public label table; then those that are simulated, with their own."""
    return [
        {
            "name": cohort.name,
            "title": cohort.title,
            "projects": ", ".join(cohort.projects),
            "patients": "" if cohort.patients is None else cohort.patients,
            "slides": "" if cohort.slides is None else cohort.slides,
            "events": "" if cohort.events is None else cohort.events,
            "endpoint": cohort.endpoint,
            "labels": cohort.labels_source,
            "folds": cohort.folds_source,
        }
        for cohort in (*COHORTS.values(), *CDR.values(), *CPTAC.values(), *SIMULATED.values())
    ]


def backbones() -> Rows:
    """Every patch encoder."""
    return [
        {
            "name": backbone.name,
            "title": backbone.title,
            "width": backbone.dim,
            "patch": f"{backbone.patch_px} px at {backbone.magnification}x",
            "licence": backbone.licence,
            "gated": "yes" if backbone.gated else "no",
            "reference": backbone.reference,
        }
        for backbone in BACKBONES.values()
    ]


def feature_sets() -> Rows:
    """Every public set of features that needs no option, and can be fetched."""
    return [
        {
            "name": known.name,
            "repository": known.repository,
            "encoder": known.backbone or ", ".join(known.calls),
            "scale": f"{known.magnification}x" + ", assumed" * known.assumed,
            "layout": known.layout,
            "licence": known.licence,
            "gated": "yes" if known.gated else "no",
        }
        for known in KNOWN_SETS.values()
    ]


def losses() -> Rows:
    """Every survival loss."""
    if not entry_points(group="milsurv.losses"):
        return _listed("losses")
    from .training.losses import LOSSES

    return [loss_row(loss) for loss in LOSSES.values()]


def loss_row(loss: "SurvivalLoss") -> dict[str, object]:
    """What is shown of a loss."""
    return {"name": loss.name, "title": loss.title, "reference": loss.reference}


def recipes() -> Rows:
    """Every recipe, field by field."""
    from dataclasses import asdict

    rows: Rows = [
        {"field": field, **{name: _plain(asdict(recipe)[field]) for name, recipe in RECIPES.items()}}
        for field in asdict(RECIPES["default"])
        if field not in ("name", "learning_rate_set")
    ]
    return [row | {"default": OWN_RATE} if row["field"] == "learning_rate" else row for row in rows]


def tuning() -> Rows:
    """What `--tune` varies of how any model is trained."""
    return [
        {
            "setting": name,
            "values": values(of),
            "default": OWN_RATE if name == "learning_rate" else getattr(RECIPES["default"], name),
        }
        for name, of in TRAINING.items()
    ]


def dials() -> Rows:
    """Every dial of planted cohorts."""
    from ..datasets.simulated.dials import ALL, DIALS

    return [
        {
            "name": dial.name,
            "sets": dial.what,
            "values": f"{dial.low:g} to {dial.high:g}",
            "default": "" if dial.default is None else f"{dial.default:g}",
            "cohorts": "all" if dial.kinds == ALL else ", ".join(dial.kinds),
        }
        for dial in DIALS.values()
    ]


def metrics() -> Rows:
    """Every metric of a fold."""
    from ..survival.metric import NEEDS
    from ..survival.metrics import METRICS

    return [
        {
            "name": metric.name,
            "title": metric.title,
            "better": "higher" if metric.higher_is_better else "lower",
            "needs": ", ".join(("risk", *(NEEDS[need] for need in metric.needs))),
        }
        for metric in METRICS.values()
    ]


def _listed(what: str) -> Rows:
    """What is kept of our models or losses."""
    return json.loads(LISTED.read_text(encoding="utf-8"))[what]


def _plain(value: object) -> object:
    return ", ".join(value) or "none" if isinstance(value, tuple) else value


LISTS: Mapping[str, Callable[[], Rows]] = MappingProxyType(
    {
        "models": models,
        "cohorts": cohorts,
        "dials": dials,
        "backbones": backbones,
        "feature-sets": feature_sets,
        "losses": losses,
        "recipes": recipes,
        "tuning": tuning,
        "metrics": metrics,
    }
)
