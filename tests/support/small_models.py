"""Every model of the registry in small, for tests over all of them."""

import torch
from milsurv.models.registry import MODELS

DIM = 12
SMALL = {
    "hidden": 16,
    "attention": 8,
    "embed_dim": 16,
    "num_heads": 2,
    "global_heads": 2,
    "fusion_heads": 2,
    "filter_hidden": 32,
    "cluster_size": 8,
    "landmarks": 8,
    "regions": 2,
}


def build(name: str, n_out: int = 4, **hyperparameters: object) -> torch.nn.Module:
    """A model whose every parameter matters."""
    spec = MODELS[name]
    torch.manual_seed(3)
    small = {key: SMALL.get(key, value) for key, value in spec.defaults.items()}
    model = spec.build(DIM, n_out, **{**small, **hyperparameters})
    for p in model.parameters():  # the initial biases and class tokens are zero: that would hide much
        p.data += 0.1 * torch.randn_like(p)
    return model
