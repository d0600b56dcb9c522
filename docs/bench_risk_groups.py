"""How often a test of out-of-fold risk groups is below 0.05, where features say nothing and where they say something.

    python docs/bench_risk_groups.py [--repeats 1000]

Cox's model on eight covariates divides the patients of each of five folds at the median risk of its training set.
Tests: the log-rank test of all patients together, stratified by fold, stratified and permuted within folds, and the
corrected t-test on the folds' log-rank statistics, which boards print. The table is that of docs/statistics.md.
"""

import argparse

import numpy as np
from milsurv.survival.cox import fit_cox
from milsurv.survival.risk_groups import p_over_folds
from scipy import stats

PATIENTS, COVARIATES, FOLDS, PERMUTATIONS = 300, 8, 5, 199


def statistic(event, group, fold):
    """(deaths in the group beyond expectation, variance) over strata; patients are sorted by time, group (r, n)."""
    excess, variance = 0.0, 0.0
    for k in np.unique(fold):
        mine = fold == k
        died, member = event[mine], group[:, mine]
        at_risk = np.arange(mine.sum(), 0, -1)
        share = np.cumsum(member[:, ::-1], 1)[:, ::-1] / at_risk
        excess = excess + (died * (member - share)).sum(1)
        variance = variance + (died * share * (1 - share)).sum(1)
    return excess / np.sqrt(variance)


def one(rng, strength):
    """The p-values of one cross-validation."""
    features = rng.standard_normal((PATIENTS, COVARIATES))
    died = rng.exponential(60, PATIENTS) * np.exp(-strength * features[:, 0])
    left = rng.exponential(60, PATIENTS)
    order = np.argsort(np.minimum(died, left))
    features, time, event = features[order], np.minimum(died, left)[order], (died <= left)[order]
    fold = rng.permutation(np.arange(PATIENTS) % FOLDS)
    group = np.zeros(PATIENTS)
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        cox = fit_cox(features[train], time[train], event[train])
        group[test] = cox.risk(features[test]) > np.median(cox.risk(features[train]))
    together = statistic(event, group[None], np.zeros(PATIENTS))[0]
    by_fold = statistic(event, group[None], fold)[0]
    shuffled = np.repeat(group[None], PERMUTATIONS, 0)
    for k in range(FOLDS):
        shuffled[:, fold == k] = rng.permuted(shuffled[:, fold == k], axis=1)
    larger = (np.abs(statistic(event, shuffled, fold)) >= abs(by_fold) - 1e-12).sum()
    corrected = p_over_folds(time, event, group > 0, fold)
    two_sided = [2 * stats.norm.sf(abs(z)) for z in (together, by_fold)]
    return [*two_sided, (1 + larger) / (1 + PERMUTATIONS), 1.0 if corrected is None else corrected]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    print("| log hazard ratio per SD | all together | stratified by fold | permuted within folds | t-test over folds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for strength in (0.0, 0.2, 0.4, 0.6):
        rng = np.random.default_rng(2026)
        shares = (np.array([one(rng, strength) for _ in range(repeats)]) < 0.05).mean(0)
        print(f"| {strength:g} | " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |", flush=True)


if __name__ == "__main__":
    main()
