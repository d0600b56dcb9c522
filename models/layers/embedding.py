"""The first layer of the plain MIL models: patch features to instance embeddings."""

from torch import nn

from .dropout import Dropout


def embedding(dim: int, width: int, dropout: float = 0.0, input_dropout: float = 0.0) -> nn.Sequential:
    """Linear(dim, width), ReLU, with dropout on the features (`input_dropout`) and on the embeddings (`dropout`)."""
    return nn.Sequential(Dropout(input_dropout), nn.Linear(dim, width), nn.ReLU(), Dropout(dropout))
