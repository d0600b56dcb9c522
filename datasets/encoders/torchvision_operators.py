"""torchvision beside a torch without CUDA: two operators are declared that its Python code expects to find.

The wheel of torchvision on PyPI is built for CUDA. Beside a CPU build of torch its library does not load, its Python
code then asks for the operators `nms` and `qnms`, and timm and transformers fail with it. Declared, though empty,
they let it import. They find boxes in pictures; no encoder needs them, and calling them still fails.
"""

import torch


def declare_missing_operators() -> None:
    """Make `import torchvision` work; does nothing where it already does."""
    if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)  # declarations end with their library


_KEPT: list[torch.library.Library] = []
