"""The model of a fold as MLflow loads it: a copy of this file lies beside its weights, and MLflow runs it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import milsurv  # pyright: ignore[reportMissingImports]  # it runs where milsurv is installed, not inside of it
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


@dataclass(frozen=True)
class _Slide:
    """A bag of one slide: patches and grid cells by magnification."""

    features: dict[int, Any]
    cells: dict[int, Any]
    slide_lengths: dict[int, list[int]] = field(default_factory=dict)


class ServedFold(PythonModel):
    """Reads one bag: `{"20": (n, dim), …}` by magnification, with `cells_20` (n, 2) for models that need places."""

    def load_context(self, context: Any) -> None:
        """Read the weights."""
        folder = next(Path(context.artifacts["experiment"]).glob("fold-*"))
        self.model = milsurv.load_model(folder.parent, int(folder.name.partition("-")[2]))

    # MLflow would take type hints for a signature.
    def predict(self, context, model_input, params=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Risk (1,), higher = earlier death, and survival (1, bins) at the `months` (bins,) at which time bins end."""
        features = {int(name): value for name, value in model_input.items() if name.isdecimal()}
        cells = {m: model_input[f"cells_{m}"] for m in features if f"cells_{m}" in model_input}
        found = self.model.predict(_Slide(features, cells, {m: [len(value)] for m, value in features.items()}))
        return {"risk": found.risk, "survival": found.survival, "months": found.edges}


set_model(ServedFold())
