"""Haematoxylin and eosin: optical densities become colours by the law of Beer and Lambert."""

from dataclasses import dataclass

import numpy as np

# Optical density of red, green and blue per unit of stain, after Ruifrok and Johnston (2001) and Macenko et al. (2009).
HAEMATOXYLIN = (0.62, 0.72, 0.31)
EOSIN = (0.13, 0.90, 0.42)
GLASS = (245.0, 244.0, 246.0)


@dataclass(frozen=True)
class Stain:
    """How one slide was stained: `densities` float32 (2, 3), haematoxylin and eosin by red, green and blue."""

    densities: np.ndarray
    glass: np.ndarray  # (3,)

    def colour(self, haematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3) from the amounts of both stains, float32 (h, w) each."""
        image = np.empty((*haematoxylin.shape, 3), np.uint8)
        for channel in range(3):
            density = haematoxylin * -self.densities[0, channel]
            density -= eosin * self.densities[1, channel]
            np.exp(density, out=density)
            density *= self.glass[channel]
            image[..., channel] = density + 0.5
        return image


def stain_of(site: np.random.Generator, slide: np.random.Generator, variation: float = 1.0) -> Stain:
    """The stain of a slide: most of its hue and strength is its laboratory's (`site`), a little its own (`slide`)."""
    tint = 0.035 * site.standard_normal((2, 3)) + 0.012 * slide.standard_normal((2, 3))
    strength = 0.08 * site.standard_normal((2, 1)) + 0.04 * slide.standard_normal((2, 1))
    densities = np.array([HAEMATOXYLIN, EOSIN]) + variation * np.clip(tint, -0.08, 0.08)
    densities /= np.linalg.norm(densities, axis=1, keepdims=True)
    densities *= 1 + variation * np.clip(strength, -0.2, 0.2)
    glass = np.array(GLASS) + variation * slide.uniform(-2, 2, 3)
    return Stain(densities.astype(np.float32), np.minimum(glass, 250).astype(np.float32))
