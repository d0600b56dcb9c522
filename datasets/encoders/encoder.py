"""A patch encoder at work: RGB tiles in, features out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..backbones import Backbone

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Intake:
    """How a tile becomes an encoder's input: resized to `resize` pixels by `filter` ("bilinear" or "bicubic"), of which
    the middle `crop` are taken; then mean and standard deviation of red, green and blue, of values from 0 to 1.
    """

    resize: int = 224
    crop: int = 224
    filter: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET[0]
    std: tuple[float, float, float] = IMAGENET[1]


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder: `module` maps (n, 3, h, w) to features (n, dim), `weights` is the fingerprint of its weights,
    and `precision` the type in which it runs on a GPU: "float16", "bfloat16" or "float32". On a CPU it is float32.
    """

    backbone: Backbone
    module: nn.Module
    intake: Intake
    weights: str
    precision: str = "float16"
    device: str = "cpu"

    def on(self, device: str) -> Encoder:
        """The same encoder on a device, ready for inference."""
        import torch

        module = self.module.eval().requires_grad_(False).to(torch.device(device))
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return replace(self, module=module, device=device)

    def features(self, tiles: np.ndarray) -> np.ndarray:
        """Features float32 (n, dim), of RGB tiles uint8 (n, h, w, 3).

        May be called from several threads.
        """
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(tiles)
            if self.device != "cpu":
                pixels = pixels.pin_memory().to(self.device, non_blocking=True)
            x = self._normal(pixels)
            if self.device == "cpu":
                return self.module(x).numpy()
            kind, half = torch.device(self.device).type, getattr(torch, self.precision)
            with torch.autocast(kind, dtype=half, enabled=half != torch.float32):
                found = self.module(x)
            return found.float().cpu().numpy()

    def _normal(self, pixels: Tensor) -> Tensor:
        """(n, h, w, 3) of 0 to 255 -> (n, 3, h, w), normalised; channels stay last in memory."""
        import torch

        # A line of an image at a time: three numbers at a time, a CPU takes four times as long.
        mean, std = (
            torch.tensor(v, device=pixels.device).repeat(pixels.shape[-2]) for v in (self.intake.mean, self.intake.std)
        )
        lines = pixels.flatten(-2).float().mul_(1 / (255 * std)).sub_(mean / std)
        return lines.view(pixels.shape).permute(0, 3, 1, 2)
