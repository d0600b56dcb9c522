"""The Experiment: a model on the bags of a cohort, with a protocol and a seed, named by a hash of all of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .recipe import Recipe

PROTOCOL = 1
"""Raised whenever a change of ours changes numbers, so that old and new rows can never share an id."""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers of one cross-validated run.

    model, hyperparameters: a name of the model registry and every hyperparameter it is built with.
    cohort, cohort_version: a name of the cohort registry and its version.
    backbone: the patch encoder; magnifications: the scales that the model reads.
    recipe: how it is trained.
    endpoint: what is predicted; `os` is overall survival.
    folds_name, n_folds: which outer folds.
    slides: how several slides of a patient count; `concat` lays them into one bag.
    missing: `error`, or `drop` where patients without features were left out (and listed).
    seed: of weights, batches and the inner validation part.
    device: `cpu` or `cuda`; numbers differ between them in the last digits.
    labels, folds, features: fingerprints of the content that was read.
    synthetic: True when the cohort was drawn and not observed.
    """

    model: str
    hyperparameters: Mapping[str, object]
    cohort: str
    cohort_version: int | str
    backbone: str
    magnifications: tuple[int, ...]
    recipe: Recipe
    folds_name: str
    n_folds: int
    seed: int
    device: str
    labels: str
    folds: str
    features: str
    endpoint: str = "os"
    slides: str = "concat"
    missing: str = "error"
    synthetic: bool = False
    protocol: int = field(default=PROTOCOL)

    @property
    def id(self) -> str:
        """See `id_of`."""
        return id_of(asdict(self))


def canonical_of(description: Mapping[str, object]) -> str:
    """A description as one text: sorted keys, no blanks."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"))


def id_of(description: Mapping[str, object]) -> str:
    """The id of the experiment so described: ten hexadecimal digits of the SHA-256 of its text."""
    return hashlib.sha256(canonical_of(description).encode()).hexdigest()[:10]


def seed_for(seed: int, fold: int, purpose: str) -> int:
    """A seed of its own for each fold and purpose (`weights`, `batches`, `validation`, `dropout`, `prepare`).

    It depends on nothing else: all models of one seed see the same inner validation part and the same batch order,
    which is what makes their differences paired, and no label can reach the random numbers.
    """
    digest = hashlib.sha256(f"{seed}/{fold}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
