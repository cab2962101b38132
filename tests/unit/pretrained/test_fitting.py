"""Where in a published file a network lies, and what a file must hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from onedc.errors import WeightsError
from onedc.pretrained.checkpoint import from_tensors
from onedc.pretrained.fitting import Fit, fit

EXPECTED = {"conv.weight": (4, 3, 1, 1), "conv.bias": (4,), "to_q.weight": (2, 2)}


def tensors(prefix: str = "", value: float = 1.0) -> dict[str, Tensor]:
    return {prefix + key: torch.full(shape, value) for key, shape in EXPECTED.items()}


def fitted(found: dict[str, Tensor], **options: object) -> Fit:
    return fit(from_tensors("file", found), "network", EXPECTED, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "state_dict.model.", "ema."]
)
def test_every_prefix_is_found_and_told(prefix: str) -> None:
    found = fitted(tensors(prefix))
    assert found.weights.shapes == EXPECTED
    assert found.weights.tensor("conv.bias").tolist() == [1, 1, 1, 1]
    plain = prefix.replace("_orig_mod.", "")
    assert found.prefix == plain
    assert ("names hold '_orig_mod.'" in found.notes) == ("_orig_mod." in prefix)
    assert (f"under {plain!r}" in found.notes) == bool(plain)


def test_compiled_parts_within_a_network_are_found() -> None:
    found = fitted({key.replace("conv.", "conv._orig_mod."): t for key, t in tensors().items()})
    assert found.weights.shapes == EXPECTED


@pytest.mark.parametrize(
    ("plain", "mean"), [("model.", "model_ema."), ("", "ema_model."), ("params.", "params_ema.")]
)
def test_a_running_mean_goes_before_plain_weights(plain: str, mean: str) -> None:
    found = fitted(tensors(plain) | tensors(mean, 2.0))
    assert found.weights.tensor("conv.bias")[0] == 2
    assert f"the running mean (EMA) under {mean!r} was taken" in found.notes
    assert "3 other tensors passed over" in found.notes
    chosen = fitted(tensors("model.") | tensors("ema.", 2.0), prefix="model.")
    assert chosen.weights.tensor("conv.bias")[0] == 1


def test_a_network_that_is_there_twice_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"network 2 times, under 'fake\.', 'real\.'; keep one"):
        fitted(tensors("real.") | tensors("fake."))


def test_keys_that_are_of_no_use_are_passed_over_and_others_refused() -> None:
    extra = {"m.classifier.weight": torch.ones(1)}
    found = fitted(tensors("m.") | extra, ignored=("classifier.",))
    assert "1 other tensors passed over" in found.notes
    with pytest.raises(WeightsError, match=r"file: not the network: weights 1 unknown \('m\.classifier"):
        fitted(tensors("m.") | extra)


def test_missing_weights_and_other_shapes_are_named() -> None:
    lacking = {key: t for key, t in tensors("m.").items() if "bias" not in key}
    with pytest.raises(WeightsError, match=r"1 missing \('conv\.bias'\)"):
        fitted(lacking)
    with pytest.raises(WeightsError, match=r"3 missing .* 1 unknown \('x'\)"):
        fitted({"x": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"'conv\.bias' is \[5\], the network has \[4\]"):
        fitted(tensors() | {"conv.bias": torch.ones(5)})


def test_a_convolution_of_one_pixel_may_stand_for_a_linear_layer() -> None:
    found = fitted(tensors() | {"to_q.weight": torch.ones(2, 2, 1, 1)})
    assert found.weights.tensor("to_q.weight").shape == (2, 2)
