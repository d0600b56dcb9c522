"""Several convolutions of one input, summed, are one convolution: their kernels are added up instead."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def merged_kernel(convolutions: list[nn.Conv2d]) -> Tensor:
    """The sum of square kernels of odd sides, laid centre on centre; the first must be the largest."""
    side = convolutions[0].kernel_size[0]
    kernel = convolutions[0].weight
    for convolution in convolutions[1:]:
        kernel = kernel + F.pad(convolution.weight, [(side - convolution.kernel_size[0]) // 2] * 4)
    return kernel


def merged_bias(convolutions: Sequence[nn.Conv2d | nn.Conv3d]) -> Tensor:
    """The sum of the biases. Raises ValueError where a convolution has none."""
    biases = [convolution.bias for convolution in convolutions if convolution.bias is not None]
    if len(biases) != len(convolutions):
        raise ValueError("a merged convolution has no bias")
    total = biases[0]
    for bias in biases[1:]:
        # Not stack().sum(): its gradients would be views of one memory, and accumulating into one changes them all.
        total = total + bias
    return total
