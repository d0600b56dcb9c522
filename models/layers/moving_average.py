"""A copy of a module that follows it slowly: the exponential moving average that teaches."""

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def frozen_copy(module: M) -> M:
    """A copy in evaluation mode whose parameters are buffers: in the state dict, unknown to optimizers."""
    twin = copy.deepcopy(module).eval()
    for part in twin.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())
    return twin


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, momentum: float) -> None:
    """Move every value of `average` to momentum * itself + (1 - momentum) * the module's."""
    for mine, theirs in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
        mine.lerp_(theirs, 1 - momentum)
