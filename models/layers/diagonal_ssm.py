"""A diagonal state-space layer (S4D), computed as a long convolution."""

from math import log, pi

import torch
from torch import Tensor, nn

BLOCK = 128


class DiagonalSSM(nn.Module):
    """y_t = 2 Re sum over n of C'_n s_t,n + D u_t, with s_t = exp(dt A) s_(t-1) + u_t, channel by channel.

    A = -exp(log_a) + i b, dt = exp(log_dt), C' = C (exp(dt A) - 1) / A (Gu et al. 2022, S4D). As a convolution:
    y = K * u with K_t = 2 Re sum of C'_n exp(t dt A_n), by FFT. With t = 128 q + r the powers are a product,
    exp(128 q dt A) exp(r dt A), so the kernel is one small matrix product per channel instead of n h N exponentials.
    """

    def __init__(self, width: int, states: int) -> None:
        """Filter `width` channels with `states` states each, that is states / 2 complex pairs."""
        super().__init__()
        pairs = states // 2
        self.skip = nn.Parameter(torch.randn(width))
        self.c = nn.Parameter(torch.randn(width, pairs, 2) * 0.5**0.5)  # real and imaginary part
        self.log_dt = nn.Parameter(torch.rand(width) * (log(0.1) - log(0.001)) + log(0.001))
        self.log_a = nn.Parameter(torch.full((width, pairs), log(0.5)))
        self.b = nn.Parameter((pi * torch.arange(pairs)).expand(width, pairs).clone())

    def kernel(self, length: int) -> Tensor:
        """K of the first `length` steps: (width, length)."""
        a = torch.complex(-self.log_a.exp(), self.b)  # (width, pairs)
        step = self.log_dt.exp()[:, None] * a  # dt A
        c = torch.view_as_complex(self.c.contiguous()) * torch.expm1(step) / a
        r = torch.arange(BLOCK, device=a.device)
        q = torch.arange(-(-length // BLOCK), device=a.device) * BLOCK
        coarse = c[:, None] * torch.exp(step[:, None] * q[:, None])  # (width, blocks, pairs)
        fine = torch.exp(step[:, :, None] * r)  # (width, pairs, 128)
        return 2 * (coarse @ fine).real.flatten(1)[:, :length]

    def forward(self, u: Tensor, sizes: list[int]) -> Tensor:
        """Filter every bag of a packed batch: (sum of n, width) -> (sum of n, width)."""
        with torch.autocast(u.device.type, enabled=False):
            u = u.to(self.skip.dtype)
            kernel = self.kernel(max(sizes))  # (width, longest)
            bags = []
            for bag in u.split(sizes):
                n = len(bag)
                spectrum = torch.fft.rfft(bag.T, 2 * n) * torch.fft.rfft(kernel[:, :n], 2 * n)  # (width, n + 1)
                bags.append(torch.fft.irfft(spectrum, 2 * n)[:, :n].T)
            return torch.cat(bags) + u * self.skip
