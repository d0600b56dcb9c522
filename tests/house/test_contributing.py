"""What CONTRIBUTING shows of a new model, metric and loss is true."""

import re
from inspect import Parameter, signature

import numpy as np
import torch
from checkout import ROOT
from milsurv.benchmark.training.loss import SurvivalLoss, Target
from milsurv.models.spec import ModelSpec
from milsurv.survival import metrics
from milsurv.survival.followup import FollowUp, Prediction
from milsurv.survival.metric import Metric
from milsurv.survival.time_bins import fit_bins

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODEL, METRIC, LOSS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TIME, EVENT = np.array([3.0, 8.0, 20.0, 31.0]), np.array([True, False, True, True])


def run(example: str, package: str, **names: object) -> dict[str, object]:
    """The names that an example defines when it stands in a file of `package`."""
    names |= {"__package__": package, "__name__": f"{package}.new"}
    exec(example, names)
    return names


def test_the_model_scores_a_batch_and_says_all_that_a_spec_says():
    spec = run(MODEL, "milsurv.models")["SPEC"]
    assert isinstance(spec, ModelSpec) and spec.equation and spec.cost
    takes = [name for name, p in signature(spec.build).parameters.items() if p.kind is Parameter.KEYWORD_ONLY]
    assert list(spec.defaults) == list(spec.reference_defaults) == takes
    scores = spec.build(6, 3, **spec.defaults)({20: torch.randn(7, 6)}, {20: torch.tensor([3, 4])})
    assert scores.shape == (2, 3)


def test_the_metric_scores_a_fold():
    example, _, entry = METRIC.rpartition("\n\n\n")
    metric = eval(entry.partition("#")[0], run(example, "milsurv.survival", **vars(metrics)))
    assert isinstance(metric, Metric)
    assert metric(None, FollowUp(TIME, EVENT), Prediction(np.array([0.1, 0.9, 0.3, 0.2]))) == 0.0


def test_the_loss_trains_and_gives_falling_survival_curves():
    loss = run(LOSS, "milsurv.benchmark.training")["SQUARED"]
    assert isinstance(loss, SurvivalLoss)
    bins = fit_bins(TIME, EVENT, 3)
    scores = torch.randn(4, loss.width(bins.count), requires_grad=True)
    known = torch.zeros(4, dtype=torch.long), torch.tensor(TIME), torch.tensor(EVENT), torch.ones(4)
    value = loss.loss(scores, Target(*known), 0.0)
    value.backward()
    assert torch.isfinite(scores.grad).all()
    curves = loss.survival(scores, bins, loss.baseline(bins, scores, TIME, EVENT))
    assert curves.shape == (4, bins.count) and (curves.diff(dim=1) <= 0).all()
