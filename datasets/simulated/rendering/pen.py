"""Pen on a slide: ink that someone drew on the glass to circle what matters."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .fields import smooth

INKS = {"blue": (40, 60, 170), "green": (20, 120, 80), "black": (35, 35, 40)}
STEP = 8  # pixels; strokes are drawn coarsely and enlarged


def mark(rng: np.random.Generator, image: np.ndarray, ink: str = "green") -> np.ndarray:
    """`image` uint8 (h, w, 3) with an open ring and a stroke across it."""
    height, width = image.shape[:2]
    size = (width // STEP, height // STEP)
    paper = Image.new("L", size)
    brush = ImageDraw.Draw(paper)
    t = np.linspace(0, rng.uniform(4.6, 5.6), 80) + rng.uniform(0, 6)
    wave = 1 + 0.05 * np.sin(3 * t + rng.uniform(0, 6))
    ring = np.stack([size[0] * (0.5 + 0.36 * wave * np.cos(t)), size[1] * (0.5 + 0.38 * wave * np.sin(t))], 1)
    x = size[0] * rng.uniform(0.72, 0.8)
    stroke = np.array([[x, size[1] * 0.08], [x + size[0] * 0.12, size[1] * 0.3]])
    for line, thick in ((ring, 0.05), (stroke, 0.06)):
        brush.line([tuple(point) for point in line], fill=255, width=round(thick * size[1]), joint="curve")
    paper = paper.filter(ImageFilter.GaussianBlur(1.2))
    cover = np.array(paper.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    cover *= np.clip(0.85 + 0.12 * smooth(rng, (height, width), 160), 0.5, 1)  # ink runs
    density = -np.log(np.array(INKS[ink], np.float32) / 250)
    inked = image * np.exp(-cover[..., None] * density)
    return np.clip(inked + 0.5, 0, 255).astype(np.uint8)
