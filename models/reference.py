"""Weights trained by the public CrossFusion code, read into our models."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from . import registry

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

REFERENCE_NAMES: tuple[str, ...] = tuple(_RULES)


def reference_entries(name: str, entry: str) -> list[str]:
    """The reference's names for one entry of our state dict of model `name`, to be stacked along the first axis."""
    for pattern, replacement in _RULES[name]:
        entry = re.sub(pattern, replacement, entry)
    found = re.search(r"\{(.+)\}", entry)
    return [entry.replace(found[0], part) for part in found[1].split(",")] if found else [entry]


def load_reference(name: str, state_dict: Mapping[str, Tensor], **hyperparameters: object) -> nn.Module:
    """Build model `name` with weights of the public CrossFusion code, in evaluation mode.

    Width of the features, of the head and of the embedding and the number of layers are read off the shapes; other
    hyperparameters are the reference's, unless given (a checkpoint does not tell the number of heads). A prefix
    `module.`, left by DataParallel, is dropped. Read a checkpoint with `torch.load(path, weights_only=True)`.

    Raises:
        ValueError: for a name not in REFERENCE_NAMES; for entries missing, unexpected or of another shape, all listed.
    """
    if name not in _RULES:
        raise ValueError(f"the reference has no weights of '{name}'; it has {', '.join(REFERENCE_NAMES)}")
    given = {key.removeprefix("module."): value for key, value in state_dict.items()}
    dim, n_out, read = _read_off(name, given)
    spec = registry.get(name)
    model = spec.build(dim, n_out, **{**spec.reference_defaults, **read, **hyperparameters})
    weights: dict[str, Tensor] = {}
    wrong: list[str] = []
    unread = set(given)
    for entry, ours in model.state_dict().items():
        names = reference_entries(name, entry)
        missing = [n for n in names if n not in given]
        unread -= set(names)
        if missing:
            wrong += [f"missing: {n}" for n in missing]
            continue
        joined = torch.cat([given[n] for n in names]) if len(names) > 1 else given[names[0]]
        if joined.dim() == 3 and ours.dim() == 1:  # tokens and embeddings are (1, 1, c) there
            joined = joined.flatten()
        if joined.shape != ours.shape:
            wrong.append(f"shape: {' + '.join(names)} gives {tuple(joined.shape)}, expected {tuple(ours.shape)}")
        weights[entry] = joined
    wrong += [f"unexpected: {n}" for n in sorted(unread)]
    if wrong:
        raise ValueError(f"these are not the reference's weights of '{name}':\n  " + "\n  ".join(wrong))
    model.load_state_dict(weights)
    return model.eval()


def _read_off(name: str, given: Mapping[str, Tensor]) -> tuple[int, int, dict[str, int]]:
    """Width of the features, of the head, and the hyperparameters that the shapes tell."""
    first = {
        "abmil": "attention_net.0.weight",
        "transmil": "_fc1.0.weight",
        "dsmil": "b_classifier.q.0.weight",
    }
    last = {"abmil": "classifiers.bias", "transmil": "_fc2.bias", "dsmil": "b_classifier.fcc.bias"}
    family = name.startswith("crossfusion")
    head = last.get(name, "mlp_head.0.bias")
    projected = first.get(name, "s_lin_proj.0.weight" if name == "crossfusion" else "source_pre_cross_attn.0.weight")
    # Where features have the embedding's width, the CrossFusion family has no projection.
    needed = [head, "cls_token"] if family else [head, projected]
    absent = [entry for entry in needed if entry not in given]
    if absent:
        raise ValueError(f"these are not the reference's weights of '{name}':\n  missing: " + ", ".join(absent))
    n_out = given[head].shape[0]
    if not family:
        width, dim = given[projected].shape
        read = {"abmil": {"hidden": width}, "transmil": {"embed_dim": width}, "dsmil": {"hidden": width}}[name]
        gate = given.get("attention_net.2.attention_a.0.bias")
        return dim, n_out, read if gate is None else {**read, "attention": gate.shape[0]}
    width = given["cls_token"].numel()
    dim = given[projected].shape[1] if projected in given else width
    layers = {int(m[1]) for key in given if (m := re.match(r"final_transformer\.pre_layers\.layers\.(\d+)\.", key))}
    return dim, n_out, {"embed_dim": width, "num_layers": len(layers) or 1}
