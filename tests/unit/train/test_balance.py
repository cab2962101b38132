"""The adaptive weight of adversarial terms against its definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from onedc.errors import ConfigError
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.autoencoder import Autoencoder
from onedc.train.balance import LARGEST, GANBalance
from onedc.train.config import TrainConfig, apply_settings
from onedc.train.data import Batch
from onedc.train.noise import Noise
from onedc.train.recipes import find_recipe
from onedc.train.score import ScoreNetwork
from onedc.train.stage import Stage
from onedc.train.stage2 import Stage2


def test_the_weight_is_the_ratio_of_gradients_over_the_whole_batch() -> None:
    torch.manual_seed(0)
    layer = nn.Parameter(torch.randn(3))
    balance = GANBalance(0.5, 2, 1e-3)
    parts = [(torch.randn(3), torch.randn(3)) for _ in range(2)]
    for a, b in parts:  # of one batch, in two parts
        balance.observe((layer * a).sum(), (layer * b).sum(), layer)
    assert balance.weight.item() == pytest.approx(1e-3)  # holds until the move is over
    balance.settle()
    adversarial, others = (sum(pair) for pair in zip(*parts, strict=True))
    measured = 0.5 * float(torch.as_tensor(others).norm() / torch.as_tensor(adversarial).norm())
    assert balance.weight.item() == pytest.approx(measured)
    balance.observe((9 * layer).sum(), layer.sum(), layer)  # the second move is not measured
    balance.settle()
    assert balance.weight.item() == pytest.approx(measured)
    balance.observe((0 * layer).sum(), layer.sum(), layer)
    balance.settle()
    assert balance.weight.item() == pytest.approx(LARGEST)
    other = GANBalance(0.5, 2, 0.0)
    other.load_state_dict(balance.state_dict())
    assert (other.weight.item(), other.moves.item()) == (pytest.approx(LARGEST), 3)


def stage2(config: TrainConfig) -> Stage2:
    real = ScoreNetwork(config.objective.score, config.model)
    model = OneDC(config.model)
    return Stage2(model, LPIPS(), real, config.objective, config.optim, config.critic_optim)


def autoencoder(config: TrainConfig) -> Autoencoder:
    model = OneDC(config.model)
    return Autoencoder(model, LPIPS(), config.objective, config.optim, config.critic_optim)


@pytest.mark.parametrize(
    ("recipe", "make", "player", "term"),
    [
        ("tiny-stage2", stage2, "generator", "gan_generator"),
        ("tiny-autoencoder", autoencoder, "autoencoder", "gan_autoencoder"),
    ],
)
def test_stages_keep_the_share(
    tiny: Callable[..., TrainConfig],
    recipe: str,
    make: Callable[[TrainConfig], Stage],
    player: str,
    term: str,
) -> None:
    torch.manual_seed(0)
    config = tiny("objective.gan_share=0.2", "objective.gan_every=1", recipe=recipe)
    stage = make(config)
    layer = next(reversed([p for p in stage.players()[0].parameters.values() if p.ndim == 4]))
    if isinstance(stage, Stage2):
        layer = stage.codec.model.generator.unet.conv_out.weight
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    batch = Batch(x, None, Noise(3, range(2), torch.device("cpu")), ["x"] * 2, [""] * 2, 0)
    stage.loss(player, batch, 0)
    stage.moved(player)
    total, figures = stage.loss(player, batch, 1)
    adversarial = torch.autograd.grad(figures[term], layer, retain_graph=True)[0] * figures["gan_weight"]
    whole = torch.autograd.grad(total, layer)[0]
    assert float(adversarial.norm() / (whole - adversarial).norm()) == pytest.approx(0.2, rel=1e-3)
    assert "balance.weight" in stage.state_dict()
    assert "balance" in stage.stored()


def test_a_bad_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match="gan_every"):
        apply_settings(find_recipe("tiny-stage2"), ["objective.gan_every=0"])
