"""Encoders: the embedded one gives what its authors' code gives; weights that are not of a network are refused."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from milsurv.datasets import backbones
from milsurv.datasets.encoders import efficientnet_lite, pathology
from milsurv.datasets.encoders.encoder import IMAGENET
from milsurv.datasets.encoders.opening import REFUSED, intake_of, open_encoder
from milsurv.datasets.encoders.torchvision_operators import declare_missing_operators
from milsurv.errors import DataError, UnknownName
from torch import nn

TILES = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
PARAMETERS = {  # millions, as the papers and model cards state them
    "resnet50": 25.6, "uni": 303, "uni2-h": 681, "virchow": 631, "virchow2": 631, "prov-gigapath": 1135,
    "hoptimus-0": 1135,
}  # fmt: skip


def normal(tiles: np.ndarray, mean=IMAGENET[0], std=IMAGENET[1]) -> torch.Tensor:
    pixels = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def lite0():
    return open_encoder("efficientnet_lite0").on("cpu")


def test_the_embedded_encoder_gives_what_its_own_module_gives(lite0):
    network, _ = efficientnet_lite.original()
    with torch.inference_mode():
        own = network.extract_features(normal(TILES)).mean((2, 3)).numpy()
    found = lite0.features(TILES)
    assert found.shape == (3, 1280) and found.dtype == np.float32
    assert np.abs(found - own).max() < 1e-4


def test_features_of_a_tile_do_not_depend_on_its_batch(lite0):
    alone = np.concatenate([lite0.features(TILES[i : i + 1]) for i in range(3)])
    assert np.abs(lite0.features(TILES) - alone).max() < 1e-4


def test_the_embedded_encoder_gives_the_same_where_onednn_is_not(lite0, monkeypatch):
    one = lite0.features(TILES)
    monkeypatch.setattr(efficientnet_lite, "_ONE_STEP", False)
    assert np.abs(lite0.features(TILES) - one).max() < 1e-4


def test_the_embedded_encoder_takes_tiles_of_any_size():
    network, _ = efficientnet_lite.original()
    own, _ = efficientnet_lite.load()
    for side in (64, 225, 250):
        x = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            assert (network.extract_features(x).mean((2, 3)) - own(x)).abs().max() < 1e-4


def test_weights_of_another_network_are_refused_with_their_names(tmp_path):
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"another network: \d+ missing .* 2 unknown \(bias, weight\)"):
        open_encoder("efficientnet-lite0", tmp_path / "other.pth")
    state = efficientnet_lite.original()[0].state_dict()
    state["_conv_stem.weight"] = state["_conv_stem.weight"][:8]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(DataError, match=r"1 of the wrong shape \(_conv_stem.weight \(8, 3, 3, 3\) instead of"):
        open_encoder("efficientnet-lite0", tmp_path / "cut.pth")
    state = efficientnet_lite.original()[0].state_dict()
    state["_fc.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(DataError, match=r"NaN or infinite weights \(_fc.bias\)"):
        open_encoder("efficientnet-lite0", tmp_path / "nan.pth")


def test_truncated_foreign_and_absent_weights_are_refused(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save(efficientnet_lite.original()[0].state_dict(), whole)
    (tmp_path / "half.pth").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "half.safetensors").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "text.pth").write_text("not found")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("a", "b")
    for name in ("half.pth", "half.safetensors", "text.pth", "zip.pth"):
        with pytest.raises(DataError, match=rf"{name} cannot be read as weights: it is truncated"):
            open_encoder("efficientnet-lite0", tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        open_encoder("efficientnet-lite0", tmp_path / "nowhere.pth")


def test_weights_that_would_run_code_are_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"a": Code()}, tmp_path / "code.pth")
    with pytest.raises(DataError, match="cannot be read as weights"):
        open_encoder("efficientnet-lite0", tmp_path / "code.pth")
    assert not (tmp_path / "made").exists()


def test_every_backbone_of_the_table_is_run_or_refused_by_name():
    assert {"efficientnet-lite0", *pathology.RECIPES, *REFUSED} == set(backbones.BACKBONES)
    for name in REFUSED:
        with pytest.raises(DataError, match="cannot be run by milsurv: its"):
            intake_of(name)
    with pytest.raises(UnknownName):
        intake_of("uni3")


def test_missing_weights_say_where_to_ask_and_where_to_log_in(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        DataError, match=r"Request access at https://huggingface.co/MahmoodLab/UNI2-h, log in with `hf auth"
    ):
        open_encoder("uni2-h")
    with pytest.raises(DataError, match=r"From https://huggingface.co/owkin/phikon: run `hf download owkin/phikon`"):
        open_encoder("phikon")
    with pytest.raises(DataError, match=r"--weights .*: no such file"):
        open_encoder("uni2-h", tmp_path / "nowhere")


@pytest.mark.parametrize("name", PARAMETERS)
def test_architectures_have_as_many_parameters_as_their_authors_say(name):
    declare_missing_operators()
    with torch.device("meta"):
        network = pathology.build(pathology.RECIPES[name])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], rel=0.005)


@pytest.mark.slow
def test_architectures_give_features_of_the_width_in_the_table():
    declare_missing_operators()
    for name, recipe in pathology.RECIPES.items():
        if recipe.architecture.startswith("transformers:"):
            continue
        with torch.device("meta"), torch.inference_mode():
            found = recipe.feature(
                pathology.build(recipe).eval(), torch.empty(2, 3, recipe.intake.crop, recipe.intake.crop)
            )
        assert found.shape == (2, backbones.get(name).dim), name


def test_the_class_token_and_the_mean_of_patches_leave_registers_out():
    tokens = torch.arange(24.0).view(1, 8, 3)  # class, 4 registers, 3 patches

    def network(x):
        return tokens

    assert torch.equal(pathology.class_token(network, tokens), tokens[:, 0])
    both = pathology.class_and_mean(4)(network, tokens)
    assert torch.equal(both, torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], -1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnet50-trunc"])
def test_a_checkpoint_of_the_true_architecture_is_loaded_and_a_torn_one_refused(tmp_path, name):
    from safetensors.torch import save_file

    declare_missing_operators()
    torch.manual_seed(0)
    network = pathology.build(pathology.RECIPES[name]).eval()
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "model.safetensors")
    encoder = open_encoder(name, tmp_path).on("cpu")
    with torch.inference_mode():
        maps = network.forward_intermediates(
            normal(TILES), indices=[3 if "trunc" in name else 4], intermediates_only=True
        )
    assert np.abs(encoder.features(TILES) - maps[0].mean((2, 3)).numpy()).max() < 1e-3
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="cannot be read as weights"):
        open_encoder(name, tmp_path)


@pytest.mark.slow
def test_a_vision_transformer_is_loaded_from_half_precision_and_refused_for_another(tmp_path):
    from safetensors.torch import save_file

    declare_missing_operators()
    torch.manual_seed(0)
    network = pathology.build(pathology.RECIPES["uni"]).eval().half()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    encoder = open_encoder("uni", tmp_path / "model.safetensors").on("cpu")
    with torch.inference_mode():
        own = network.float()(normal(TILES[:1])).numpy()
    assert encoder.weights and own.shape == (1, 1024)
    assert np.abs(encoder.features(TILES[:1]) - own).max() < 1e-3
    with pytest.raises(DataError, match="another network"):
        open_encoder("virchow2", tmp_path / "model.safetensors")


@pytest.mark.slow
def test_a_transformers_folder_is_loaded_and_one_without_its_configuration_refused(tmp_path):
    declare_missing_operators()
    from safetensors.torch import save_file
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    network = ViTModel(ViTConfig(), add_pooling_layer=False).eval()
    network.save_pretrained(tmp_path)
    encoder = open_encoder("phikon", tmp_path).on("cpu")
    with torch.inference_mode():
        own = network(normal(TILES[:1])).last_hidden_state[:, 0].numpy()
    assert np.abs(encoder.features(TILES[:1]) - own).max() < 1e-3

    state = network.state_dict()
    scaled = {key: 2 * value for key, value in state.items()}
    save_file(scaled, tmp_path / "mine.safetensors")
    mine = open_encoder("phikon", tmp_path / "mine.safetensors").on("cpu")
    assert mine.weights != encoder.weights
    assert np.abs(mine.features(TILES[:1]) - encoder.features(TILES[:1])).max() > 0.1, "the file named is the one read"
    save_file({**state, "foo.bar": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(DataError, match=r"another network: 1 missing, unknown or of the wrong shape \(foo\.bar\)"):
        open_encoder("phikon", tmp_path / "foreign.safetensors")
    key = next(iter(state))
    save_file({**state, key: torch.full_like(state[key], torch.nan)}, tmp_path / "nan.safetensors")
    with pytest.raises(DataError, match="NaN or infinite weights"):
        open_encoder("phikon", tmp_path / "nan.safetensors")

    whole = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(whole.replace('"num_hidden_layers": 12', '"num_hidden_layers": 3'))
    with pytest.raises(DataError, match="another network"):
        open_encoder("phikon", tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(DataError, match=r"lacks config\.json"):
        open_encoder("phikon", tmp_path)


def test_the_embedded_encoder_needs_neither_timm_nor_torchvision():
    code = (
        "import sys; from milsurv.datasets.encoders.opening import open_encoder; open_encoder('efficientnet-lite0'); "
        "print(sorted({'timm', 'torchvision', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
