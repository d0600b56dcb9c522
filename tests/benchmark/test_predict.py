"""Scores of patients are read in evaluation mode, whatever mode the model is in, and leave it in that mode."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from milsurv.benchmark.training.fit import Precision, predict
from milsurv.models import registry


class Bags(dict):
    def tokens(self, patient_id: str) -> int:
        return len(self[patient_id].features[20])


@pytest.mark.parametrize("training", [True, False])
def test_prediction_drops_nothing_out_and_leaves_the_mode_as_it_was(training):
    rng = np.random.default_rng(0)
    matrices = {f"p{i}": rng.standard_normal((9, 16)).astype(np.float16) for i in range(6)}
    bags = Bags(
        {name: SimpleNamespace(features={20: x}, cells={}, slide_lengths={20: (9,)}) for name, x in matrices.items()}
    )
    torch.manual_seed(0)
    model = registry.get("abmil").build(dim=16, n_out=4, dropout=0.5).train(training)
    scores = [predict(model, bags, list(bags), 20, Precision("float32", torch.device("cpu"))) for _ in range(2)]
    assert torch.equal(*scores)
    assert model.training is training
