"""Dials of planted cohorts: each does what it says, and none does anything while it is not turned."""

import csv
from pathlib import Path

import numpy as np
import pytest
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request, parse_command
from milsurv.benchmark.planning.resolve import resolve
from milsurv.datasets.bags import Bags
from milsurv.datasets.features import store
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.folds.read import stratified_folds
from milsurv.datasets.labels.read import Labels, read_labels
from milsurv.datasets.simulated import planted
from milsurv.datasets.simulated.cohort import planted_patches, simulate_cohort
from milsurv.datasets.simulated.dials import DIALS, parse_dials
from milsurv.datasets.simulated.patients import expected_oracle, follow, oracle, strength_for
from milsurv.datasets.truth import Truth, read_truth
from milsurv.errors import DataError, UsageError
from milsurv.survival.concordance import c_index
from milsurv.survival.cox import fit_cox
from scipy.stats import rankdata


class Drawn:
    """A cohort with some dials turned."""

    def __init__(self, folder: Path, kind: str, *pairs: str, patients: int = 300, seed: int = 0) -> None:
        self.folder = simulate_cohort(
            f"planted-{kind}", "drawn", folder / "-".join((kind, *pairs, str(seed))), dim=8, patients=patients,
            cells=2.5, seed=seed, dials=parse_dials(pairs, kind),
        )  # fmt: skip
        truth = read_truth(self.folder)
        assert truth is not None
        self.truth: Truth = truth
        self.labels: Labels = read_labels(self.folder / "labels.csv", f"planted-{kind}")
        self.time = np.array([p.time for p in self.labels.patients])
        self.event = np.array([p.event for p in self.labels.patients])
        self.risk = np.array([self.truth.risk[p.id] for p in self.labels.patients])
        with (self.folder / "labels.csv").open(encoding="utf-8") as file:
            rows = {row["case_id"]: row for row in csv.DictReader(file)}
        self.age = np.array([float(rows[p.id]["age"]) for p in self.labels.patients])

    def shown(self, what) -> np.ndarray:
        """What the patterns of every patient's slides come to."""
        found = planted_patches(self.folder)
        slides = [[found[s.removesuffix(".svs")] for s in p.slides] for p in self.labels.patients]
        return np.array([what(own) for own in slides], float)

    def cox(self, x: np.ndarray) -> float:
        """The C-index over five folds of a Cox model of `x` (n, k)."""
        row = {p.id: i for i, p in enumerate(self.labels.patients)}
        x, scores = np.reshape(x, (len(self.time), -1)), []
        for split in stratified_folds(self.labels).splits:
            train, test = ([row[i] for i in part] for part in (split.train, split.test))
            scaled = (x - x[train].mean(axis=0)) / np.maximum(x[train].std(axis=0), 1e-9)
            model = fit_cox(scaled[train], self.time[train], self.event[train], alpha=1.0)
            scores.append(c_index(self.time[test], self.event[test], model.risk(scaled[test])))
        return float(np.mean(scores))

    def means(self) -> np.ndarray:
        """The mean patch of every patient at every scale, and how many there are."""
        bags = Bags(open_features(self.folder), self.labels.patients, (5, 10, 20))
        found = [bags[p.id].features for p in self.labels.patients]
        return np.array([[*np.concatenate([f[m].astype(float).mean(0) for m in f]), len(f[20])] for f in found])


def amount(slides: list) -> float:
    return float(np.concatenate([slide[20] for slide in slides]).mean())


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draw a cohort; features, which take most of the time, are written where they are read."""

    def call(kind: str, *pairs: str, features: bool = False, **more) -> Drawn:
        with monkeypatch.context() as patch:
            if not features:
                patch.setattr(store, "write_slide", lambda *args, **kwargs: None)
            return Drawn(tmp_path, kind, *pairs, **more)

    return call


@pytest.mark.parametrize(("deaths", "pull"), [(0.15, 0.0), (0.6, 0.0), (0.4, 0.8)])
@pytest.mark.parametrize("binary", [False, True])
def test_the_expected_oracle_is_the_mean_over_draws_of_death_and_censoring(deaths, pull, binary):
    rng = np.random.default_rng(0)
    score = rng.integers(0, 2, 400).astype(float) if binary else rng.standard_normal(400)
    score = (score - score.mean()) / score.std()
    watched = np.exp(-pull * score)
    wanted = 0.68
    hazard = strength_for(score, wanted, deaths, pull) * score
    assert expected_oracle(hazard, deaths, watched) == pytest.approx(wanted, abs=1e-3)
    drawn = [follow(rng, hazard, round(deaths * 400), 24, watched) for _ in range(40)]
    found = [oracle(event, time, hazard) for time, event in drawn]
    assert abs(np.mean(found) - wanted) < 3.5 * np.std(found) / 40**0.5 + 0.003


def test_more_than_a_hazard_can_have_is_refused():
    score = np.repeat([-1.0, 1.0], 50)
    with pytest.raises(DataError, match="strongest hazard that this cohort can have"):
        strength_for(score, 0.94, 0.6)


@pytest.mark.parametrize("kind", ["fine", "cross"])
def test_a_cohort_has_the_oracle_that_is_asked_for(draw, kind):
    found = [draw(kind, "oracle=0.65", seed=seed, patients=400).truth.oracle_c_index for seed in range(3)]
    assert np.mean(found) == pytest.approx(0.65, abs=0.02)


def test_deaths_are_exactly_the_share_that_is_asked_for(draw):
    assert draw("fine", "deaths=0.15", patients=200).event.sum() == 30
    assert draw("null", "deaths=0.45", "noise=0.3", patients=200).event.sum() == 90


def test_slides_have_so_many_patches_of_which_so_many_are_informative(draw):
    one = draw("fine", "patches=800", "informative=0.02", patients=100)
    found = planted_patches(one.folder)
    assert np.mean([len(slide[20]) for slide in found.values()]) == pytest.approx(800, rel=0.05)
    assert np.median([slide[20].mean() for slide in found.values()]) == pytest.approx(0.02, rel=0.25)
    ranks = rankdata([one.shown(amount), one.risk], axis=1)
    assert np.corrcoef(ranks)[0, 1] > 0.99, "the slides hold all that the hazard rests on"


def test_co_location_is_graded_from_two_main_effects_to_none():
    for weight, main in ((0.0, True), (0.5, True), (1.0, False)):
        sites = [f"S{k % 9}" for k in range(2000)]
        sections, score = planted.plant(
            np.random.default_rng(0), "cross", sites, [1] * 2000, 2.5, {"interaction": weight}
        )
        first = np.array([s[0].region[s[0].tissue == 0].mean() > 0.5 for s in sections])
        rich = np.array([s[0].fine[np.repeat(s[0].tissue == 0, 16)].mean() > 0.4 for s in sections])
        effect = [abs(np.corrcoef(x, score)[0, 1]) for x in (first, rich)]
        assert (min(effect) > 0.3) == main and (max(effect) < 0.06) == (not main)
        together = np.corrcoef(first == rich, score)[0, 1]
        assert together == pytest.approx(weight / np.hypot(weight, 1 - weight), abs=0.06)


def test_an_arrangement_leaves_the_composition_of_every_slide_as_it_is(draw):
    one = draw("place", "patches=160", patients=300, features=True)
    shares = {float(slide[20].mean()) for slide in planted_patches(one.folder).values()}
    assert shares == {6 / 16}
    assert one.cox(one.means()) == pytest.approx(0.5, abs=0.07), "the mean patch must not tell the hazard"
    assert one.truth.oracle_c_index > 0.75


def test_where_patches_lie_tells_the_hazard():
    sites = [f"S{k % 9}" for k in range(200)]
    sections, score = planted.plant(np.random.default_rng(0), "place", sites, [1] * 200, 20)

    def together(section: planted.Section) -> float:
        where = {tuple(xy) for xy in section.coords[20][section.fine].tolist()}
        return sum(((x + 512, y) in where) + ((x, y + 512) in where) for x, y in where) / len(where)

    assert np.corrcoef([together(s[0]) for s in sections], score)[0, 1] > 0.8


def test_noise_gives_patients_the_outcome_of_another_and_keeps_the_truth(draw):
    clean, noisy = draw("fine"), draw("fine", "noise=0.3")
    pairs = [list(zip(one.time, one.event, strict=True)) for one in (clean, noisy)]
    changed = np.mean([a != b for a, b in zip(*pairs, strict=True)])
    assert changed == pytest.approx(0.3, abs=0.01)
    assert sorted(pairs[0]) == sorted(pairs[1])
    assert noisy.risk.tolist() == clean.risk.tolist()
    assert clean.truth.oracle_c_index - noisy.truth.oracle_c_index > 0.05


def test_censoring_follows_the_hazard_or_the_hospital_only_where_a_dial_says_so(draw):
    def early(one: Drawn) -> float:
        return c_index(one.time, ~one.event, one.risk)

    def by_site(one: Drawn) -> float:
        sites = np.array([p.site for p in one.labels.patients])
        kept = [site for site in set(sites) if (sites == site).sum() >= 10]
        return float(np.var([one.event[sites == site].mean() for site in kept]))

    assert (
        early(draw("fine", "censoring-hazard=1"))
        > early(draw("fine")) + 0.1
        > early(draw("fine", "censoring-hazard=-1")) + 0.2
    )
    assert by_site(draw("fine", "censoring-site=1")) > 2 * by_site(draw("fine"))


def test_a_confounder_drives_both_the_pattern_and_the_hazard(draw):
    plain, half, full = (draw("fine", *dial) for dial in ((), ("confounder=0.5",), ("confounder=1",)))
    correlation = [np.corrcoef(one.age, one.shown(amount))[0, 1] for one in (plain, half, full)]
    assert correlation == pytest.approx([0, 0.5, 1], abs=0.15)
    assert plain.cox(plain.age) < 0.58 < half.cox(half.age) < full.cox(full.age)
    assert full.cox(full.age) == pytest.approx(full.truth.oracle_c_index, abs=0.03), "the clinic knows all of it"


def test_a_pattern_that_protects_in_half_of_the_patients_tells_nothing_without_the_subtype(draw):
    one = draw("fine", "subtypes=0.5", features=True)
    pattern = one.shown(amount)
    assert c_index(one.time, one.event, pattern) == pytest.approx(0.5, abs=0.07)
    centred = pattern - pattern.mean()
    sign = np.sign(centred * one.risk)
    assert np.mean(sign < 0) == pytest.approx(0.5, abs=0.05)
    assert one.cox(sign * centred) > 0.75
    stain = one.means()[:, :-1]
    side = np.linalg.lstsq(np.c_[stain, np.ones(len(stain))], sign, rcond=None)[0]
    assert np.mean(np.sign(np.c_[stain, np.ones(len(stain))] @ side) == sign) > 0.85, "slides show the subtype"


def test_another_hospital_has_the_same_patients_and_patterns_and_moves_every_patch_alike(tmp_path):
    from milsurv.datasets.features.opening import open_features

    here, there, further = (Drawn(tmp_path, "fine", *dial, patients=20) for dial in ((), ("stain=1",), ("stain=2",)))
    assert (here.folder / "labels.csv").read_text() == (there.folder / "labels.csv").read_text()
    assert (here.risk == there.risk).all()
    readers = [open_features(one.folder / "features") for one in (here, there, further)]
    slides = sorted(readers[0].slides)[:4]
    for m in (5, 20):
        x, y, z = (np.concatenate([one.read(slide, m)[0] for slide in slides]).astype(float) for one in readers)
        moved = (y - x).mean(axis=0)
        assert np.abs(y - x - moved).max() < 0.02 and np.linalg.norm(moved) > 1
        assert np.abs((z - x).mean(axis=0) - 2 * moved).max() < 0.01


def test_a_dial_at_its_default_changes_nothing(tmp_path):
    at_default = [f"{dial.name}={dial.default}" for dial in DIALS.values() if dial.default is not None]
    fitting = [pair for pair in at_default if "fine" in DIALS[pair.partition("=")[0]].kinds]
    assert parse_dials(fitting, "fine") == {}
    plain, same = (
        load(Request("meanpool", "planted-fine", patients=30, folds=2, out=tmp_path, dial=dial))[0]
        for dial in ((), tuple(fitting))
    )
    assert plain.id == same.id and plain.cohort_version == "1"


def test_dials_are_part_of_the_identity_and_of_the_command(tmp_path):
    request = Request("meanpool", "planted-fine", patients=30, folds=2, out=tmp_path, dial=("deaths=0.3", "noise=0.1"))
    experiment = load(request)[0]
    assert experiment.cohort_version == "1, deaths=0.3, noise=0.1"
    assert "--dial deaths=0.3 --dial noise=0.1" in request.command
    assert parse_command(request.command).dial == request.dial
    turned = {load(Request("meanpool", "planted-fine", patients=30, folds=2, out=tmp_path, dial=(d,)))[0].id
              for d in ("noise=0.1", "deaths=0.3", "patches=60", "oracle=0.7", "subtypes=0.5")}  # fmt: skip
    assert len(turned) == 5


@pytest.mark.parametrize(
    ("cohort", "dial", "words"),
    [
        ("planted-fine", "death=0.3", "Did you mean deaths"),
        ("planted-fine", "deaths=0", "expected a number from 0.05 to 0.95"),
        ("planted-fine", "deaths", "NAME=VALUE"),
        ("planted-fine", "interaction=0.5", "planted-cross have it"),
        ("planted-fine", "informative=0.005", "patches=400"),
        ("brca", "deaths=0.3", "planted cohorts"),
    ],
)
def test_a_dial_that_cannot_be_is_refused_with_a_remedy(cohort, dial, words):
    with pytest.raises(UsageError, match=words):
        resolve(Request("meanpool", cohort, dial=(dial,)))


def test_a_strength_and_an_oracle_are_two_answers_to_one_question():
    with pytest.raises(UsageError, match="leave --strength out"):
        resolve(Request("meanpool", "planted-fine", dial=("oracle=0.6",), strength="weak"))
