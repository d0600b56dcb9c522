"""The initial weights of the CrossFusion family."""

from torch import nn


def initialise(module: nn.Module) -> None:
    """Draw a module's weights, for use with `nn.Module.apply`.

    Linear: normal of std 0.02, cut at +-2, bias 0. LayerNorm: 1 and 0. Conv2d and Conv3d: Kaiming normal over the fan
    out, bias 0. Other parameters belong to the modules that own them.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
