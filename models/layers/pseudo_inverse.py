"""The iterative pseudo-inverse of Nystrom attention."""

import torch
from torch import Tensor


def pseudo_inverse(a: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Approximate the Moore-Penrose inverses of a (..., m, m) from the first guess `start` of the same shape.

    z <- z (13 I - a z (15 I - a z (7 I - a z))) / 4 (Xiong et al. 2021, Nystromformer, eq. 11).
    """
    eye = torch.eye(a.shape[-1], device=a.device, dtype=a.dtype)
    z = start
    for _ in range(iterations):
        az = a @ z
        z = 0.25 * z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az)))
    return z
