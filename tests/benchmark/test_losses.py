"""Survival losses: likelihoods, risks and curves."""

import json

import numpy as np
import pytest
import torch
from checkout import SHARED
from hypothesis import given
from hypothesis import strategies as st
from milsurv.benchmark.training.hazards import log_survival, nll, nll_mcat
from milsurv.benchmark.training.loss import Target
from milsurv.benchmark.training.losses import LOSSES
from milsurv.benchmark.training.proportional_hazards import breslow_baseline, breslow_survival, cox, rank
from milsurv.survival.kaplan_meier import kaplan_meier
from milsurv.survival.time_bins import TimeBins, fit_bins

GOLDEN = SHARED / "spec" / "golden-vectors.json"
LABELS = SHARED / "data" / "cdr" / "tcga-liu2018_clinData.csv"


def cohort(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(30, n) + 0.1, rng.random(n) < 0.6
    event[0] = True
    return time, event


def target(bin, event, time=None, share=None) -> Target:
    """Patients of these bins and events, last seen at the end of their bin where `share` is None."""
    bin, event = torch.as_tensor(bin), torch.as_tensor(event)
    time = torch.ones(len(bin), dtype=torch.float64) if time is None else torch.as_tensor(time)
    return Target(bin, time, event, torch.ones(len(bin)) if share is None else torch.as_tensor(share))


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden vectors are not beside this checkout")
@pytest.mark.parametrize("name", ["nll-mcat", "ce"])
@pytest.mark.parametrize("alpha", ["0.0", "0.2", "0.4"])
def test_losses_equal_the_reference(name, alpha):
    golden = json.loads(GOLDEN.read_text())["losses"]
    hazards = torch.tensor(golden["hazards"], dtype=torch.float64)
    event = torch.tensor(golden["censored"]) == 0
    loss = LOSSES[name].loss(torch.logit(hazards), target(golden["bin"], event), float(alpha))
    assert loss.item() == pytest.approx(golden[name.removesuffix("-mcat")][alpha], rel=1e-6)


def test_likelihood_of_two_patients_is_what_one_writes_down_by_hand():
    hazard = torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    bin, event = torch.tensor([1, 0]), torch.tensor([True, False])
    by_hand = -(np.log(0.5 * 0.25) + np.log(0.5)) / 2  # dies in the second bin; alive after the first
    assert nll_mcat(torch.logit(hazard), target(bin, event), 0.0).item() == pytest.approx(by_hand, rel=1e-6)


def test_who_is_censored_within_a_bin_survived_the_share_of_it_that_lies_before():
    hazard = torch.tensor([[0.5, 0.4]])
    alive = nll(torch.logit(hazard), target([1], [False], share=[0.25]), 0.0)
    assert alive.item() == pytest.approx(-np.log(0.5 + 0.25 * (0.3 - 0.5)), rel=1e-6)  # S falls from 0.5 to 0.3


@pytest.mark.parametrize(("share", "other"), [(1.0, nll_mcat), (0.0, None)])
def test_at_the_ends_of_a_bin_the_likelihood_is_that_of_the_curve(share, other):
    logits, known = torch.randn(6, 4), target([0, 1, 2, 3, 0, 3], [True, False] * 3, share=torch.full((6,), share))
    if other is None:
        start = torch.nn.functional.pad(log_survival(logits), (1, 0))[torch.arange(6), known.bin]
        expected = torch.where(known.event, -nll_mcat_each(logits, known), start).neg().mean()
    else:
        expected = other(logits, known, 0.0)
    torch.testing.assert_close(nll(logits, known, 0.0), expected)


def nll_mcat_each(logits: torch.Tensor, known: Target) -> torch.Tensor:
    one = [Target(*(value[i : i + 1] for value in vars(known).values())) for i in range(len(known.bin))]
    return torch.stack([nll_mcat(logits[i : i + 1], of, 0.0) for i, of in enumerate(one)])


@pytest.mark.parametrize("seed", range(3))
def test_without_covariates_the_likelihood_finds_the_kaplan_meier_curve(seed):
    """Where many are censored within wide bins, MCAT's form promises up to a tenth more survivors."""
    rng = np.random.default_rng(seed)
    died, left = rng.exponential(60, 2000), rng.exponential(40, 2000)
    time, event = np.minimum(died, left) + 0.01, died <= left
    kept = time < 150
    followed = time[kept], event[kept]
    bins, truth = fit_bins(*followed, 4), kaplan_meier(*followed)
    ours, mcat = (np.abs(optimum(form, bins, *followed) - truth.at(bins.upper))[:3].max() for form in (nll, nll_mcat))
    assert ours < 0.02 and mcat > 2 * ours


def optimum(form, bins: TimeBins, time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Survival at the ends of the bins when one set of scores fits everybody best."""
    scores = torch.zeros(1, bins.count, requires_grad=True)
    known = target(bins.assign(time), event, time, bins.share(time))
    fitting = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        fitting.zero_grad()
        value = form(scores.expand(len(time), -1), known, 0.0)
        value.backward()
        return value

    fitting.step(closure)
    return log_survival(scores).exp()[0].detach().numpy()


@pytest.mark.skipif(not LABELS.exists(), reason="the cohorts' tables are not beside this checkout")
def test_on_the_follow_up_of_brca_the_likelihood_reaches_kaplan_meier():
    from milsurv.datasets import cohorts
    from milsurv.datasets.labels.read import read_labels

    patients = read_labels(LABELS, cohorts.get("brca"), unusable_times="drop").patients
    time, event = np.array([p.time for p in patients]), np.array([p.event for p in patients])
    bins = fit_bins(time, event, 4)
    truth = kaplan_meier(time, event).at(bins.upper[:3])
    assert np.abs(optimum(nll, bins, time, event)[:3] - truth).max() < 0.02
    assert optimum(nll_mcat, bins, time, event)[2] - truth[2] > 0.04


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [-200.0, 200.0])
@pytest.mark.parametrize("share", [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
def test_extreme_scores_give_finite_losses_and_gradients(name, size, share):
    logits = torch.full((2, LOSSES[name].width(4)), size, requires_grad=True)
    value = LOSSES[name].loss(logits, target([0, 3], [True, False], share=share), 0.2)
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_cox_equals_its_definition_with_breslow_ties():
    time = torch.tensor([3.0, 1.0, 1.0, 2.0])
    event = torch.tensor([False, True, True, True])
    risk = torch.tensor([0.3, -0.2, 0.8, 0.1])
    expected = 0.0
    for i in range(4):
        if event[i]:
            expected -= risk[i] - torch.logsumexp(risk[time >= time[i]], 0)
    value = cox(risk[:, None], target([0] * 4, event, time), 0.0)
    assert value.item() == pytest.approx(float(expected) / 3, rel=1e-6)


@given(st.integers(0, 1000), st.floats(-50, 50))
def test_cox_does_not_feel_a_shift_of_all_risks(seed, shift):
    time, event = cohort(12, seed)
    risk = torch.from_numpy(np.random.default_rng(seed).standard_normal(12))
    args = target([0] * 12, event, time), 0.0
    assert cox(risk[:, None] + shift, *args).item() == pytest.approx(cox(risk[:, None], *args).item(), abs=1e-9)


def test_breslow_curve_of_equal_risks_follows_the_cumulative_hazard():
    time, event = cohort(50)
    bins = fit_bins(time, event, 4)
    curve = breslow_survival(torch.zeros(3, 1), bins, breslow_baseline(bins, torch.zeros(50, 1), time, event))
    edge = bins.upper[1]
    nelson_aalen = sum(1 / (time >= t).sum() for t in time[event & (time <= edge)])
    assert curve[0, 1].item() == pytest.approx(np.exp(-nelson_aalen), rel=1e-6)


def test_breslow_counts_tied_deaths_over_one_risk_set():
    time, event = np.array([1.0, 1.0, 2.0]), np.array([True, True, False])
    bins = TimeBins((0.0, 1.5, float("inf")), 2.0)
    curve = breslow_survival(torch.zeros(1, 1), bins, breslow_baseline(bins, torch.zeros(3, 1), time, event))
    assert curve[0, 0].item() == pytest.approx(np.exp(-2 / 3), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_higher_risk_means_lower_survival_at_every_edge(name):
    loss = LOSSES[name]
    time, event = cohort(40)
    bins = fit_bins(time, event, 4)
    low, high = torch.full((1, loss.width(4)), -1.0), torch.full((1, loss.width(4)), 1.0)
    if name == "mixture":  # its scores are log weights, means and log deviations: here all of 40, and of 20, months
        low, high = (torch.tensor([[0.0, mean, 4.0]]).repeat_interleave(100, 1) for mean in (40.0, 20.0))
    train = torch.randn(40, loss.width(4), generator=torch.Generator().manual_seed(0))
    survival = loss.survival(torch.cat([low, high]), bins, loss.baseline(bins, train, time, event))
    risk = loss.risk(torch.cat([low, high]))
    assert risk[1] > risk[0]
    assert (survival[1] < survival[0]).all()
    assert (survival.diff(dim=1) <= 0).all()
    assert survival.shape == (2, bins.count)


@given(st.lists(st.floats(-30, 30), min_size=4, max_size=4))
def test_survival_never_rises(logits):
    curve = log_survival(torch.tensor([logits])).exp()[0]
    assert (curve.diff() <= 1e-7).all() and 0 <= curve.min() <= curve.max() <= 1


def test_bins_are_quartiles_of_the_deaths_and_closed_on_the_left():
    time, event = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 99.0]), np.array([True] * 5 + [False])
    bins = fit_bins(time, event, 4)
    assert bins.edges == (0.0, 2.0, 3.0, 4.0, float("inf"))
    assert bins.assign(np.array([0.5, 2.0, 3.9, 4.0, 200.0])).tolist() == [0, 1, 2, 3, 3]
    assert bins.upper == (2.0, 3.0, 4.0, 99.0)


def test_bins_that_coincide_are_merged():
    assert fit_bins(np.array([5.0] * 10), np.array([True] * 10), 4).count == 2


def test_bins_without_a_death_are_refused():
    with pytest.raises(ValueError, match="at least one death"):
        fit_bins(np.array([5.0]), np.array([False]), 4)


def theirs(name, scores, bin, event):
    """The same loss by pycox."""
    from pycox.models import loss as pycox
    from pycox.models.data import pair_rank_mat

    if name == "deephit":
        pairs = torch.from_numpy(pair_rank_mat(bin.numpy(), event.numpy().astype(np.float32))).to(scores.dtype)
        return pycox.DeepHitSingleLoss(0.2, 0.1)(scores, bin, event.to(scores.dtype), pairs)
    if name == "bce":
        return pycox.bce_surv_loss(-scores, bin, event.to(scores.dtype))
    function = {"pmf": pycox.nll_pmf, "mtlr": pycox.nll_mtlr, "nll-mcat": pycox.nll_logistic_hazard}[name]
    return function(scores, bin, event.to(scores.dtype), **({} if name == "nll-mcat" else {"epsilon": 0.0}))


@pytest.mark.parametrize("name", ["nll-mcat", "pmf", "mtlr", "deephit", "bce"])
@pytest.mark.parametrize("seed", range(5))
def test_losses_and_their_gradients_equal_those_of_pycox(name, seed):
    pytest.importorskip("pycox", reason="pip install 'milsurv[test]'")
    generator = torch.Generator().manual_seed(seed)
    bin, event = torch.randint(4, (20,), generator=generator), torch.rand(20, generator=generator) < 0.6
    scores = torch.randn(20, 4, generator=generator).requires_grad_()
    ours = LOSSES[name].loss(scores, target(bin, event), 0.0)
    expected = theirs(name, scores, bin, event)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, expected = (torch.autograd.grad(loss, scores)[0] for loss in (ours, expected))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["pmf", "mtlr"])
def test_survival_is_the_mass_beyond_each_bin(name):
    time, event = cohort(40)
    scores = torch.randn(5, 4)
    curve = LOSSES[name].survival(scores, fit_bins(time, event, 4), np.zeros(0))
    if name == "mtlr":
        scores = torch.stack([scores[:, k:].sum(1) for k in range(4)], 1)
    mass = torch.nn.functional.pad(scores, (0, 1)).softmax(1)
    torch.testing.assert_close(curve, 1 - mass.cumsum(1)[:, :4], rtol=1e-4, atol=1e-6)


@given(st.integers(0, 1000))
def test_the_ranking_loss_is_the_mean_over_pairs_whose_order_is_known(seed):
    time, event = cohort(12, seed)
    time = np.ceil(time / 10)  # ties
    risk = np.random.default_rng(seed).standard_normal(12)
    pairs = [
        np.log1p(np.exp(risk[j] - risk[i]))
        for i in range(12)
        for j in range(12)
        if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j]))
    ]
    value = rank(torch.from_numpy(risk)[:, None], target([0] * 12, event, time), 0.0).item()
    assert value == pytest.approx(np.mean(pairs) if pairs else 0.0, rel=1e-9)


def test_a_batch_without_a_comparable_pair_has_no_ranking_loss():
    scores = torch.randn(3, 1, requires_grad=True)
    value = rank(scores, target([0] * 3, [False] * 3), 0.0)
    value.backward()
    assert value.item() == 0 and scores.grad is not None


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.separable])
def test_a_separable_loss_is_the_mean_of_its_patients(name):
    scores = torch.randn(6, LOSSES[name].width(4))
    bin, event = torch.tensor([0, 1, 2, 3, 0, 3]), torch.tensor([1, 0, 1, 0, 0, 1]) > 0
    whole = LOSSES[name].loss(scores, target(bin, event), 0.0)
    apart = [LOSSES[name].loss(scores[i, None], target(bin[i, None], event[i, None]), 0.0) for i in range(6)]
    torch.testing.assert_close(whole, torch.stack(apart).mean())


@given(st.integers(0, 10**6))
def test_cox_sums_over_exactly_those_who_are_at_risk(seed):
    rng = np.random.default_rng(seed)
    time, event, risk = np.round(rng.exponential(2, 12), 1), rng.random(12) < 0.6, rng.standard_normal(12)
    event[0] = True
    terms = [risk[i] - np.log(np.exp(risk[time >= time[i]]).sum()) for i in np.flatnonzero(event)]
    made = cox(torch.from_numpy(risk)[:, None], target([0] * 12, event, time), 0.0)
    assert made.item() == pytest.approx(-np.mean(terms), rel=1e-9)


def test_the_mixture_is_the_likelihood_that_one_writes_down_by_hand():
    from scipy.stats import norm

    k = 100
    w, mu, sigma = np.random.default_rng(0).dirichlet(np.ones(k)), np.linspace(5, 60, k), np.full(k, 3.0)
    scores = torch.from_numpy(np.concatenate([np.log(w), mu, np.log(sigma)]))[None].expand(2, -1)
    time, event = np.array([12.0, 40.0]), np.array([True, False])
    y = np.log(np.expm1(time))
    dies = (w * norm.pdf(y[0], mu, sigma)).sum() * np.exp(time[0]) / np.expm1(time[0])
    lives = 1 - (w * norm.cdf(y[1], mu, sigma)).sum()
    loss = LOSSES["mixture"].loss(scores, target([0, 0], event, time), 0.0)
    assert loss.item() == pytest.approx(-(np.log(dies + 1e-6) + np.log(lives + 1e-6)) / 2, rel=1e-6)
    assert LOSSES["mixture"].risk(scores)[0].item() == pytest.approx(-(w * mu).sum())
    bins = TimeBins((0.0, 12.0, float("inf")), 40.0)
    assert LOSSES["mixture"].survival(scores, bins, np.zeros(0))[1, -1].item() == pytest.approx(lives)
