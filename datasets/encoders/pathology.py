"""The encoders that timm and transformers build, each as its authors say: architecture, input, and which token is the
feature.

Facts are from the model cards and from TRIDENT's loaders (November 2026). An encoder that could not be verified is not
here, and is refused by name: a feature from a wrong token or normalisation looks like any other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import DataError, some
from ..backbones import Backbone
from .encoder import Intake
from .torchvision_operators import declare_missing_operators
from .weights import check_finite, fingerprint_of, fit, locate, read_state

HOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": nn.SiLU}
GIANT = {"num_classes": 0, "img_size": 224, "init_values": 1e-5, "global_pool": "token"}
HUGE = {"num_classes": 0, "img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "", **SWIGLU}


@dataclass(frozen=True)
class EncoderRecipe:
    """How to build an encoder: where its weights are, its architecture in timm, its input, what is taken of the network
    as the feature (n, dim) of pixels (n, 3, h, w), and the precision in which TRIDENT runs it on a GPU.
    """

    repository: str
    architecture: str
    options: dict[str, object] = field(default_factory=dict)
    intake: Intake = field(default_factory=Intake)
    feature: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__
    precision: str = "float16"


def class_token(network: nn.Module, x: Tensor) -> Tensor:
    """The first token."""
    return network(x)[:, 0]


def class_and_mean(registers: int) -> Callable[[nn.Module, Tensor], Tensor]:
    """The class token beside the mean of the patch tokens, which follow it and the registers."""

    def feature(network: nn.Module, x: Tensor) -> Tensor:
        tokens = network(x)  # (n, 1 + registers + patches, width)
        return torch.cat([tokens[:, 0], tokens[:, 1 + registers :].mean(1)], -1)

    return feature


def third_stage(network: nn.Module, x: Tensor) -> Tensor:
    """A ResNet's third stage, averaged over places, as CLAM takes it."""
    return network.forward_intermediates(x, indices=[3], intermediates_only=True)[0].mean((2, 3))  # type: ignore[operator]


def fourth_stage(network: nn.Module, x: Tensor) -> Tensor:
    """A ResNet's last stage, averaged over places."""
    return network.forward_features(x).mean((2, 3))  # type: ignore[operator]


def first_hidden(network: nn.Module, x: Tensor) -> Tensor:
    """The first token of a transformer of the transformers library."""
    return network(x).last_hidden_state[:, 0]


RECIPES = {
    "resnet50": EncoderRecipe("timm/resnet50.tv_in1k", "resnet50", feature=fourth_stage, precision="float32"),
    "resnet50-trunc": EncoderRecipe("timm/resnet50.tv_in1k", "resnet50", feature=third_stage, precision="float32"),
    "uni": EncoderRecipe("MahmoodLab/UNI", "vit_large_patch16_224", {"num_classes": 0, "init_values": 1e-5}),
    "uni2-h": EncoderRecipe(
        "MahmoodLab/UNI2-h",
        "vit_giant_patch14_224",
        {
            **{"num_classes": 0, "img_size": 224, "depth": 24, "num_heads": 24, "init_values": 1e-5, "embed_dim": 1536},
            **{"mlp_ratio": 2.66667 * 2, "no_embed_class": True, "reg_tokens": 8, **SWIGLU},
        },
        precision="bfloat16",
    ),
    "virchow": EncoderRecipe(
        "paige-ai/Virchow", "vit_huge_patch14_224", HUGE, Intake(filter="bicubic"), class_and_mean(0)
    ),
    "virchow-cls": EncoderRecipe(
        "paige-ai/Virchow", "vit_huge_patch14_224", HUGE, Intake(filter="bicubic"), class_token
    ),
    "virchow2": EncoderRecipe(
        "paige-ai/Virchow2",
        "vit_huge_patch14_224",
        {**HUGE, "reg_tokens": 4},
        Intake(filter="bicubic"),
        class_and_mean(4),
    ),
    "virchow2-cls": EncoderRecipe(
        "paige-ai/Virchow2", "vit_huge_patch14_224", {**HUGE, "reg_tokens": 4}, Intake(filter="bicubic"), class_token
    ),
    "prov-gigapath": EncoderRecipe(
        "prov-gigapath/prov-gigapath",
        "vit_giant_patch14_dinov2",
        {
            **{"num_classes": 0, "img_size": 224, "patch_size": 16, "embed_dim": 1536, "depth": 40, "num_heads": 24},
            "mlp_ratio": 5.33334,
        },
        Intake(resize=256, filter="bicubic"),
    ),
    "hoptimus-0": EncoderRecipe(
        "bioptimus/H-optimus-0", "vit_giant_patch14_reg4_dinov2", GIANT, Intake(mean=HOPTIMUS[0], std=HOPTIMUS[1])
    ),
    "hoptimus-1": EncoderRecipe(
        "bioptimus/H-optimus-1", "vit_giant_patch14_reg4_dinov2", GIANT, Intake(mean=HOPTIMUS[0], std=HOPTIMUS[1])
    ),
    "phikon": EncoderRecipe("owkin/phikon", "transformers:ViTModel", feature=first_hidden, precision="float32"),
    "phikon-v2": EncoderRecipe(
        "owkin/phikon-v2", "transformers:Dinov2Model", feature=first_hidden, precision="float32"
    ),
}


class Featured(nn.Module):
    """(n, 3, h, w) -> (n, dim): a network and what is taken of it."""

    def __init__(self, network: nn.Module, feature: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.feature = network, feature

    def forward(self, x: Tensor) -> Tensor:
        """Features of a batch."""
        return self.feature(self.network, x)


def build(recipe: EncoderRecipe) -> nn.Module:
    """An architecture of timm, without weights."""
    import timm
    from timm.layers.mlp import SwiGLUPacked

    options = {k: SwiGLUPacked if v == "SwiGLUPacked" else v for k, v in recipe.options.items()}
    return timm.create_model(recipe.architecture, **options)  # type: ignore[arg-type]


def load(backbone: Backbone, given: Path | None) -> tuple[nn.Module, str]:
    """The network with its weights, and their fingerprint. DataError if there are none, or if they are of another
    one.
    """
    recipe = RECIPES[backbone.name]
    declare_missing_operators()
    path = locate(backbone, recipe.repository, given)
    if recipe.architecture.startswith("transformers:"):
        network = _from_folder(recipe.architecture.partition(":")[2], path, backbone)
        return Featured(network, recipe.feature), fingerprint_of(path, path.parent / "config.json")
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        network = build(recipe)
    fit(network, read_state(path), path)
    return Featured(network, recipe.feature), fingerprint_of(path)


def _from_folder(architecture: str, path: Path, backbone: Backbone) -> nn.Module:
    """A network of transformers, whose configuration lies beside its weights."""
    import transformers

    if not (path.parent / "config.json").is_file():
        raise DataError(f"{path.parent} lacks config.json, which belongs to the weights of {backbone.title}.")
    family = getattr(transformers, architecture)
    head = {"add_pooling_layer": False} if architecture == "ViTModel" else {}
    state = read_state(path)
    check_finite(state, path)
    try:
        # The library knows under which names older versions of it saved the same weights.
        config = family.config_class.from_json_file(path.parent / "config.json")
        network, found = family.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, dtype=torch.float32, **head
        )
    except Exception as error:  # foreign configurations raise nearly anything
        brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path} does not fit its config.json ({brief}): download both again.") from error
    foreign = [key for key in found["unexpected_keys"] if not key.startswith("pooler.")]
    faults = [*found["missing_keys"], *(str(key) for key in found["mismatched_keys"]), *foreign]
    if faults or network.config.hidden_size != backbone.dim:
        raise DataError(
            f"{path} holds the weights of another network: {len(faults)} missing, unknown or of the wrong shape "
            f"({some(faults, 3)})."
        )
    return network
