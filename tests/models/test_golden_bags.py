"""Models that read features alone give the numbers that the public codes gave, with their weights."""

import numpy as np
import pytest
import torch
from golden_zoo import bag_of, check_bags, drawn, model_of, near, needs_spec, norms_of, parameters_of, shapes, zoo
from milsurv.models.reference import load_reference

pytestmark = needs_spec


PLAIN = ("clam-sb", "clam-mb", "rrtmil", "wikg", "ilra", "s4mil", "panther", "slide-vector")


@pytest.mark.parametrize("case", PLAIN)
def test_public_weights_give_the_public_numbers(case: str) -> None:
    check_bags(case, model_of(case))


# What is not counted among the trained: dead weights, a bias that a softmax cancels, fitted prototypes, moving queries.
LEFT_OUT = {"wikg": 16 * 8 + 8 + 16 * 8 + 8 + 8 * 16 + 16, "rrtmil": 4, "panther": 2 * 4 * 24}


@pytest.mark.parametrize(
    "case", ["clam-sb", "clam-mb", "dtfd", "rrtmil", "wikg", "ilra", "s4mil", "panther", "slide-vector"]
)
def test_parameters_are_those_of_the_public_code_without_the_dead(case: str) -> None:
    assert parameters_of(model_of(case)) == zoo()["cases"][case]["n_parameters"] - LEFT_OUT.get(case, 0)


@pytest.mark.parametrize("case", ["clam-sb", "clam-mb"])
def test_the_instance_loss_of_clam_is_the_public_one(case: str) -> None:
    for subtyping, key in ((True, "instance_loss_subtyping"), (False, "instance_loss_in_class_only")):
        model = model_of(case, subtyping=subtyping)
        for b, bag in enumerate(zoo()["cases"][case]["bags"]):
            x = bag_of(case, b)[0][20]
            h = model.embed(x)
            losses = model.instance_losses(model.attention.scores(h).softmax(0), h)
            assert losses[bag["class"]].item() == near(bag[key])


@pytest.mark.parametrize("distill", ["AFS", "MaxMinS", "MaxS"])
def test_dtfd_gives_the_public_numbers_for_the_public_groups(distill: str) -> None:
    model = model_of("dtfd", distill=distill)
    for b, bag in enumerate(zoo()["cases"]["dtfd"]["bags"]):
        features, _, _ = bag_of("dtfd", b)
        groups = [torch.from_numpy(rows) for rows in np.array_split(np.array(bag["permutation"]), bag["groups"])]
        logits, sub = model.tiers(model.embed(features[20]), [len(features[20])], [groups])
        assert logits[0].tolist() == near(bag[distill]["logits"])
        assert norms_of(logits[0], features) == near(bag[distill]["input_grad_norms"], 1e-3)
        for ours, theirs in zip(sub.tolist(), bag["pseudo_bag_logits"], strict=True):
            assert ours == near(theirs)


def test_wikg_pools_by_the_mean_as_well() -> None:
    model = model_of("wikg", pool="mean")
    for b, bag in enumerate(zoo()["cases"]["wikg"]["bags"]):
        features, lengths, _ = bag_of("wikg", b)
        assert model(features, lengths)[0].tolist() == near(bag["logits_mean_pool"])


def test_ilra_without_layer_norm_gives_the_public_numbers() -> None:
    model = model_of("ilra", layer_norm=False)
    for b, bag in enumerate(zoo()["cases"]["ilra"]["bags"]):
        features, lengths, _ = bag_of("ilra", b)
        assert model(features, lengths)[0].tolist() == near(bag["logits_without_layer_norm"])


@pytest.mark.parametrize("form", ["ga", "mha"])
def test_both_forms_of_acmil_give_the_public_numbers(form: str) -> None:
    model = model_of("acmil", f"acmil-{form}")
    counted = zoo()["cases"]["acmil"]["n_parameters" if form == "ga" else "n_parameters_mha"]
    assert parameters_of(model) == counted
    for b, bag in enumerate(zoo()["cases"]["acmil"]["bags"]):
        features, lengths, _ = bag_of("acmil", b)
        logits = model(features, lengths)[0]
        assert logits.tolist() == near(bag[form]["logits"])
        assert norms_of(logits, features) == near(bag[form]["input_grad_norms"], 1e-3)
        model.masked = 0  # the branches as the public code gives them in evaluation
        for dropout in (m for m in model.modules() if hasattr(m, "p")):
            dropout.p = 0.0
        trained = model.train()(features, lengths)
        model.eval()
        for ours, theirs in zip(trained.views[:, 0].tolist(), bag[form]["branch_logits"], strict=True):
            assert ours == near(theirs)
        assert trained.penalty.item() == near(bag[form]["diversity_loss"])


@pytest.mark.parametrize(("form", "order"), [("SRMamba", "strided"), ("Mamba", "forward"), ("BiMamba", "both-ways")])
def test_all_orders_of_mambamil_give_the_public_numbers(form: str, order: str) -> None:
    model = model_of("mambamil", f"mambamil-{form}", order=order)
    assert parameters_of(model) == zoo()["cases"]["mambamil"][f"n_parameters_{form}"]
    for b, bag in enumerate(zoo()["cases"]["mambamil"]["bags"]):
        features, lengths, _ = bag_of("mambamil", b)
        logits = model(features, lengths)[0]
        assert logits.tolist() == near(bag[form]["logits"])
        assert norms_of(logits, features) == near(bag[form]["input_grad_norms"], 1e-3)


def test_panther_fits_the_public_mixture() -> None:
    for steps, tau in ((1, 1.0), (3, 0.001)):
        model = model_of("panther", em_steps=steps, tau=tau)
        for b, bag in enumerate(zoo()["cases"]["panther"]["bags"]):
            features, lengths, _ = bag_of("panther", b)
            expected = bag if steps == 1 else bag["em3_tau0.001"]
            vector = model.vector(features[20])
            pi, mu, s = vector[:4], vector[4:100].view(4, 24), vector[100:].view(4, 24)
            assert pi.tolist() == near(expected["pi"], 4e-4 if steps > 1 else 1e-4)
            assert model(features, lengths)[0].tolist() == near(expected["logits"], 4e-4 if steps > 1 else 1e-4)
            if steps == 1:
                assert mu.norm(dim=1).tolist() == near(bag["mean_norms"])
                assert s.norm(dim=1).tolist() == near(bag["variance_norms"])
                assert mu[0, :3].tolist() == near(bag["first_mean_first_3"])


@pytest.mark.parametrize("form", ["attn", "selfattn"])
def test_both_forms_of_mhim_give_the_public_numbers_in_training_as_well(form: str) -> None:
    case = zoo()["cases"]["mhim"]
    model = model_of("mhim", f"mhim-{form}")
    taught = {name: drawn(f"{zoo()['salt']}-teacher", name, tuple(s)) for name, s in shapes()[f"mhim-{form}"].items()}
    model.teacher.load_state_dict(load_reference("mhim", taught, **case["hyperparameters"]).teacher.state_dict())
    assert sum(p.numel() for p in model.parameters()) == case[f"n_parameters_{form}"]
    for b, bag in enumerate(case["bags"]):
        features, lengths, _ = bag_of("mhim", b)
        logits = model.eval()(features, lengths)[0]
        assert logits.tolist() == near(bag[form]["logits"])
        for dropout in (m for m in model.modules() if hasattr(m, "p")):
            dropout.p = 0.0
        model.train()
        score, (target,) = model.teach(features[20].detach(), [len(features[20])])
        assert score.tolist() == near(bag[form]["teacher_score"])
        step = bag[form]["training"]
        noise = np.random.default_rng([zoo()["seed"], b, 8000]).random(step["noise_length"]).astype(np.float32)
        seen = model.hard(model.student.embed(features[20]), score, torch.from_numpy(noise))
        assert len(seen) == step["tokens_after_masking_and_merging"]
        (feature,) = model.student.encoder(seen, [len(seen)])
        logits = model.student.head(feature)
        assert logits.tolist() == near(step["student_logits"])
        loss = -(target * feature.log_softmax(0)).sum()
        assert loss.item() == near(step["consistency_loss"])
        before = model.merge.queries.clone()
        teacher = {k: v.clone() for k, v in model.teacher.state_dict().items()}
        model.after_step()
        assert (model.merge.queries - before).norm().item() == near(step["query_change_norm"], 1e-3)
        model.merge.queries.copy_(before)
        model.teacher.load_state_dict(teacher)
