"""The names of the public CrossFusion code, which holds six of our models."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from .public_weights import PublicWeights

_PREFIX = {"coarse": ("c", "coarse"), "source": ("s", "source"), "fine": ("f", "fine")}

# Rules turn one of our names into the reference's; several names on the right are stacked along the first axis.
_TRANSFORMER = (
    (r"\.before\.(\d+)\.", r".pre_layers.layers.\1."),
    (r"\.after\.(\d+)\.", r".post_layers.layers.\1."),
    (r"(layers\.\d+)\.attention_norm\.", r"\1.0."),
    (r"(layers\.\d+)\.attention\.qkv\.", r"\1.1.{q_proj,k_proj,v_proj}."),
    (r"(layers\.\d+)\.attention\.out\.", r"\1.1.out_proj."),
    (r"(layers\.\d+)\.ffn_norm\.", r"\1.2."),
    (r"(layers\.\d+)\.ffn\.", r"\1.3.net."),
    (r"transformer\.ppeg\.conv7\.", "transformer.ppeg.proj."),
    (r"transformer\.ppeg\.conv5\.", "transformer.ppeg.proj1."),
    (r"transformer\.ppeg\.conv3\.", "transformer.ppeg.proj2."),
)
_HEAD = (
    (r"^head\.class_token$", "cls_token"),
    (r"^head\.head\.", "mlp_head.0."),
    (r"^head\.transformer\.norm\.", "final_ln."),
    (r"^head\.transformer\.", "final_transformer."),
)
_CONV = (
    (r"^fuse\.mix\.", "conv_processor.conv3d."),
    (r"^fuse\.conv7\.", "conv_processor.conv_block.0.proj."),
    (r"^fuse\.conv5\.", "conv_processor.conv_block.0.proj1."),
    (r"^fuse\.conv3\.", "conv_processor.conv_block.0.proj2."),
    (r"^fuse\.conv1\.", "conv_processor.conv_block.0.x_proj."),
    (r"^fuse\.widen\.", "conv_processor.linear.0."),
    (r"^fuse\.norm\.", "conv_processor.linear.1."),
)
_CROSS = (
    (r"_cross\.attention\.embedding$", "_cross_attn.scale_embeddings"),
    (r"_cross\.attention\.q\.", "_cross_attn.q_proj."),
    (r"_cross\.attention\.kv\.", "_cross_attn.{k_proj,v_proj}."),
    (r"_cross\.attention\.out\.", "_cross_attn.out_proj."),
    (r"_cross\.norm\.", "_cross_attn_ln."),
    (r"_cross\.ffn\.", "_cross_attn_ffn.net."),
)


def _streams(short: bool) -> tuple[tuple[str, str], ...]:
    rules: list[tuple[str, str]] = []
    for ours, (letter, word) in _PREFIX.items():
        theirs = letter if short else word
        rules += [
            (
                rf"^streams\.{ours}_projection\.",
                f"{theirs}_lin_proj." if short else f"{word}_pre_cross_attn.",
            ),
            (
                rf"^streams\.{ours}_transformer\.norm\.",
                f"{theirs}_transformer_ln." if short else f"{word}_ln.",
            ),
            (rf"^streams\.{ours}_", f"{theirs}_"),
        ]
    return tuple(rules)


_RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "crossfusion": (*_streams(True), *_CROSS, *_HEAD, *_TRANSFORMER, *_CONV),
    "crossfusion-concat": (
        *_streams(False),
        *_CROSS,
        *_HEAD,
        *_TRANSFORMER,
        (r"^fuse\.", "pre_final_linear."),
    ),
    "crossfusion-single": (
        (r"^projection\.", "source_pre_cross_attn."),
        (r"^transformer\.norm\.", "source_ln."),
        (r"^transformer\.", "source_transformer."),
        *_HEAD,
        *_TRANSFORMER,
        *_CONV,
    ),
    "abmil": (
        (r"^embed\.1\.", "attention_net.0."),
        (r"^pool\.content\.", "attention_net.2.attention_a.0."),
        (r"^pool\.gate\.", "attention_net.2.attention_b.0."),
        (r"^pool\.score\.", "attention_net.2.attention_c."),
        (r"^head\.", "classifiers."),
    ),
    "transmil": (
        (r"^class_token$", "cls_token"),
        (r"^embed\.1\.", "_fc1.0."),
        (r"^norm([12])\.", r"layer\1.norm."),
        (r"^attention([12])\.qkv\.", r"layer\1.attn.to_qkv."),
        (r"^attention([12])\.out\.", r"layer\1.attn.to_out.0."),
        (r"^attention([12])\.residual\.", r"layer\1.attn.res_conv."),
        (r"^ppeg\.conv7\.", "pos_layer.proj."),
        (r"^ppeg\.conv5\.", "pos_layer.proj1."),
        (r"^ppeg\.conv3\.", "pos_layer.proj2."),
        (r"^head\.", "_fc2."),
    ),
    "dsmil": (
        (r"^instance\.", "i_classifier.fc.0."),
        (r"^query\.", "b_classifier.q."),
        (r"^head\.", "b_classifier.fcc."),
    ),
}


Read = Callable[[Mapping[str, Tensor]], tuple[int, int, Mapping[str, object]]]


def _plain(first: str, head: str, width: str, gate: str | None = None) -> Read:
    """Widths from the first layer and the head; `width` is what we call the width of the first layer."""

    def read(given: Mapping[str, Tensor]) -> tuple[int, int, Mapping[str, object]]:
        embedded, dim = given[first].shape
        told = {width: embedded} if gate is None else {width: embedded, "attention": given[gate].shape[0]}
        return dim, given[head].shape[0], told

    return read


def _crossfusion(projection: str) -> Read:
    """Widths from the class token; features of the embedding's width have no projection."""

    def read(given: Mapping[str, Tensor]) -> tuple[int, int, Mapping[str, object]]:
        width = given["cls_token"].numel()
        dim = given[projection].shape[1] if projection in given else width
        found = (re.match(r"final_transformer\.pre_layers\.layers\.(\d+)\.", key) for key in given)
        layers = {int(m[1]) for m in found if m}
        return dim, given["mlp_head.0.bias"].shape[0], {"embed_dim": width, "num_layers": len(layers) or 1}

    return read


_READ: dict[str, tuple[Read, tuple[str, ...]]] = {
    "crossfusion": (_crossfusion("s_lin_proj.0.weight"), ("mlp_head.0.bias", "cls_token")),
    "crossfusion-concat": (_crossfusion("source_pre_cross_attn.0.weight"), ("mlp_head.0.bias", "cls_token")),
    "crossfusion-single": (_crossfusion("source_pre_cross_attn.0.weight"), ("mlp_head.0.bias", "cls_token")),
    "abmil": (
        _plain("attention_net.0.weight", "classifiers.bias", "hidden", "attention_net.2.attention_a.0.bias"),
        ("classifiers.bias", "attention_net.0.weight"),
    ),
    "transmil": (_plain("_fc1.0.weight", "_fc2.bias", "embed_dim"), ("_fc2.bias", "_fc1.0.weight")),
    "dsmil": (
        _plain("b_classifier.q.0.weight", "b_classifier.fcc.bias", "hidden"),
        ("b_classifier.fcc.bias", "b_classifier.q.0.weight"),
    ),
}

WEIGHTS: tuple[PublicWeights, ...] = tuple(
    PublicWeights(case=name, model=name, read=_READ[name][0], rules=rules, needs=_READ[name][1])
    for name, rules in _RULES.items()
)
