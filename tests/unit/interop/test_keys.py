"""Names of published weights, and the arithmetic of merged adapters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from onedc.errors import WeightsError
from onedc.interop.keys import codec_key, merge_lora, unet_key, vae_key
from onedc.pretrained.checkpoint import from_tensors


@pytest.mark.parametrize(
    ("rename", "published", "ours"),
    [
        (codec_key, "enc.unet.conv_in.0.nin_shortcut.weight", "g_a.conv_in.0.nin_shortcut.weight"),
        (codec_key, "enc.trans_coding.4.block.0.adaptor.bias", "g_a.trans_coding.4.depth.adaptor.bias"),
        (codec_key, "hyper_enc.fusion.0.block.0.conv1.0.weight", "h_a.fusion.0.depth.conv1.weight"),
        (codec_key, "hyper_dec.to_entropy.1.subpel_conv.0.bias", "h_s.to_entropy.1.subpel_conv.bias"),
        (codec_key, "y_spatial_prior_adaptor_3.block.1.conv.bias", "prior.adaptors.2.ffn.conv.bias"),
        (codec_key, "y_spatial_prior.0.block.1.conv_out.bias", "prior.trunk.0.ffn.conv_out.bias"),
        (codec_key, "dec.blocks.5.weight", "g_s.blocks.3.conv.weight"),
        (codec_key, "dec.blocks.8.norm1.weight", "g_s.blocks.6.norm1.weight"),
        (unet_key, "conv_in.weight", "generator.unet.conv_in.weight"),
        (unet_key, "vae_reduction.blocks.5.bias", "generator.vae_reduction.conv2.bias"),
        (unet_key, "vae_reduction.short_cut.bias", "generator.vae_reduction.skip.bias"),
        (vae_key, "quant_conv.bias", "vae.quant_conv.bias"),
        (
            vae_key,
            "encoder.mid_block.attentions.0.proj_attn.weight",
            "vae.encoder.mid_block.attentions.0.to_out.0.weight",
        ),
        (
            vae_key,
            "decoder.mid_block.attentions.0.query.bias",
            "vae.decoder.mid_block.attentions.0.to_q.bias",
        ),
    ],
)
def test_names(rename: object, published: str, ours: str) -> None:
    assert callable(rename)
    assert rename(published) == ours


def adapted(base: nn.Module, down: nn.Module, up: nn.Module) -> dict[str, Tensor]:
    return {
        "layer.base_layer.weight": base.weight.detach(),
        "layer.base_layer.bias": base.bias.detach(),
        "layer.lora_A.default.weight": down.weight.detach(),
        "layer.lora_B.default.weight": up.weight.detach(),
    }


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_a_merged_convolution_does_what_the_adapter_did(stride: int) -> None:
    torch.manual_seed(0)
    base, down = (nn.Conv2d(12, c, 3, stride, padding=1, bias=c == 20) for c in (20, 64))
    up, x = nn.Conv2d(64, 20, 1, bias=False), torch.randn(1, 12, 10, 10)
    unmerged = base(x) + 0.125 * up(down(x))
    merged = merge_lora(from_tensors("unet", adapted(base, down, up)))
    assert dict(merged.shapes) == {"layer.weight": (20, 12, 3, 3), "layer.bias": (20,)}
    base.weight.copy_(merged.tensor("layer.weight"))
    base.bias.copy_(merged.tensor("layer.bias"))
    assert (base(x) - unmerged).norm() / unmerged.norm() < 1e-6


@torch.no_grad()
def test_a_merged_linear_layer_does_what_the_adapter_did() -> None:
    torch.manual_seed(0)
    base, down, up = nn.Linear(12, 20), nn.Linear(12, 64, bias=False), nn.Linear(64, 20, bias=False)
    x = torch.randn(3, 12)
    unmerged = base(x) + 0.125 * up(down(x))
    base.weight.copy_(merge_lora(from_tensors("unet", adapted(base, down, up))).tensor("layer.weight"))
    assert (base(x) - unmerged).norm() / unmerged.norm() < 1e-6


def test_layers_without_an_adapter_pass_through() -> None:
    weights = {"conv_in.weight": torch.ones(1), "mid.base_layer": torch.ones(2)}
    assert dict(merge_lora(from_tensors("unet", weights)).shapes) == {
        "conv_in.weight": (1,),
        "mid.base_layer": (2,),
    }


@pytest.mark.parametrize("lost", ["base_layer", "lora_A.default", "lora_B.default"])
def test_half_an_adapter_is_refused(lost: str) -> None:
    whole = adapted(nn.Linear(12, 20), nn.Linear(12, 4), nn.Linear(4, 20))
    del whole[f"layer.{lost}.weight"]
    with pytest.raises(WeightsError, match="'layer' is not complete"):
        merge_lora(from_tensors("unet", whole))


def test_an_adapter_of_another_shape_is_refused() -> None:
    with pytest.raises(WeightsError, match="does not fit"):
        merge_lora(from_tensors("unet", adapted(nn.Linear(12, 20), nn.Linear(12, 4), nn.Linear(5, 20))))
