"""Maps of a slide: what each patch is to a model, by method and magnification, mean over the fold models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ....datasets.bags import Bag
from ....datasets.features.cells import patch_sides
from ....errors import DataError
from ....models import registry
from ....models.attribution.attention import attention_maps
from ....models.attribution.gradients import gradient_times_input
from ....models.attribution.occlusion import TOKENS, occlusion
from ....models.attribution.scorer import Scorer
from ...training.batches import pack
from ...training.fold_model import FoldModel
from ...training.losses import LOSSES
from ..ensemble import FoldEnsemble
from ..predict import Source

METHODS = ("attention", "occlusion", "gradient", "integrated")
TITLES = {"occlusion": "occlusion", "gradient": "gradient times input", "integrated": "integrated gradients"}
REGIONS = 64
"""Regions of a scale that are occluded one by one, at most."""


@dataclass(frozen=True)
class SlideMap:
    """One map.

    Attributes
    ----------
    model, method, title
        Which model and how: `title` is the method in words, or names the attention.
    magnification
        Of its patches.
    corners, side
        Level-0 top left corners x, y of the patches, (n, 2), and their side, in pixels.
    values
        (n,). Of attention: the weight over the mean weight, 1 where a model looks everywhere alike. Of all others:
        what the patch adds to the risk, and less than 0 where it lowers it.
    """

    model: str
    method: str
    title: str
    magnification: int
    corners: np.ndarray
    side: float
    values: np.ndarray

    @property
    def signed(self) -> bool:
        """Whether values have a sign."""
        return self.method != "attention"

    @property
    def key(self) -> str:
        """Names it in files."""
        return f"{self.title} {self.magnification}x"


def slide_maps(
    ensemble: FoldEnsemble,
    source: Source,
    methods: Sequence[str] = METHODS,
    regions: int = REGIONS,
    tokens: int = TOKENS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[SlideMap]:
    """Maps of the only bag of `source`, a slide.

    Raises
    ------
    DataError
        The slide has no coordinates.
    """
    (unit,) = source.units.labels.patients
    bag = source.bags[unit.id]
    corners, sides = places_of(bag, source)
    groups = {m: torch.from_numpy(regions_of(where, sides[m], regions)) for m, where in corners.items()}
    total = sum(int(group.max()) + 1 for group in groups.values()) * len(ensemble.models)
    found: dict[tuple[str, str, int], list[np.ndarray]] = {}
    for number, model in enumerate(ensemble.models):
        before = number * total // len(ensemble.models)
        for method, title, m, values in _of_model(
            model,
            source,
            unit.id,
            methods,
            groups,
            tokens,
            lambda done, _, before=before: progress(before + done, total),
        ):
            found.setdefault((method, title, m), []).append(values)
    return [
        SlideMap(ensemble.row.model, method, title, m, corners[m], sides[m], np.mean(values, axis=0))
        for (method, title, m), values in found.items()
    ]


def scorer_of(model: FoldModel, source: Source, name: str) -> Scorer:
    """A bag under a fold model; its risk is what the loss that trained it says."""
    packed = pack(source.bags, [name]).to(model.device)
    places = packed.places if registry.get(model.about.model).places else None
    return Scorer(model.module, LOSSES[model.about.loss].risk, packed.features, places)


def _of_model(
    model: FoldModel,
    source: Source,
    name: str,
    methods: Sequence[str],
    groups: Mapping[int, torch.Tensor],
    tokens: int,
    progress: Callable[[int, int], None],
) -> list[tuple[str, str, int, np.ndarray]]:
    """(method, title, magnification, values) of one fold model."""
    from .integrated import integrated_gradients  # captum takes a second to import

    scorer = scorer_of(model, source, name)
    found = []
    if "attention" in methods:
        for one in attention_maps(scorer):
            found.append(("attention", one.title, one.magnification, one.weights.numpy() * len(one.weights)))
    for method in methods:
        if method == "attention":
            continue
        if method == "occlusion":
            values = occlusion(scorer, groups, tokens, progress)
        else:
            values = gradient_times_input(scorer) if method == "gradient" else integrated_gradients(scorer)
        found += [(method, TITLES[method], m, one.numpy()) for m, one in values.items()]
    return found


def places_of(bag: Bag, source: Source) -> tuple[dict[int, np.ndarray], dict[int, float]]:
    """Corners and sides of a slide's patches in level-0 pixels. Errors: `DataError` where they are not known."""
    slide = bag.slides[0]
    corners = {m: where for m, where in bag.coords.items() if where is not None}
    if len(corners) < len(bag.features):
        raise DataError(
            f"{source.reader.folder}: slide {slide} has no patch coordinates, without which there is no map"
        )
    geometry = {m: facts.geometry for m, facts in source.reader.facts(slide).items()}
    sides = patch_sides(corners, geometry)
    if lacking := corners.keys() - sides.keys():
        raise DataError(f"{source.reader.folder}: the size of the patches of {slide} at {min(lacking)}x is not known")
    return corners, sides


def regions_of(corners: np.ndarray, side: float, most: int) -> np.ndarray:
    """The region of each patch, (n,) from 0: the smallest squares of 1, 4, 16, … patches of which `most` hold all."""
    step = 1
    while True:
        square = np.floor((corners - corners.min(0)) / (side * step) + 1e-6).astype(int)
        number = np.unique(square, axis=0, return_inverse=True)[1].reshape(-1)
        if number.max() < most:
            return number
        step *= 2


def named(maps: Sequence[SlideMap], model: str) -> list[SlideMap]:
    """The maps under another name of the model, where two experiments share one."""
    return [replace(one, model=model) for one in maps]
