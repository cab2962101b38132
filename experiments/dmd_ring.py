"""Distribution matching where the truth is known: eight modes in the plane, their score in closed form.

A one-step generator starts in a corner; the same terms as in stage II bring it to the data. Draw it:

    python experiments/dmd_ring.py docs/images/dmd.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.train.losses.dmd import TIMESTEPS, Diffusion, dmd_gradient, dmd_loss

MODES, RADIUS, SPREAD = 8, 2.0, 0.1
FAKE_SCORE_STEPS = 5  # for one of the generator
DRAWN_STEPS = 4000


def ring_of_modes(count: int, *, seed: int | None) -> Tensor:
    """Samples [count,2] of eight Gaussians on a circle; without a seed, their centres in optimizer."""
    angles = 2 * math.pi * torch.arange(MODES) / MODES
    centres = RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)
    if seed is None:
        return centres[torch.arange(count) % MODES]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(MODES, (count,), generator=generator)
    return centres[chosen] + SPREAD * torch.randn(count, 2, generator=generator)


class RingScore(nn.Module):
    """The exact noise prediction for the ring: noisy points [B,2], timesteps [B] -> noise [B,2]."""

    def __init__(self, diffusion: Diffusion) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.register_buffer("centres", ring_of_modes(MODES, seed=None))

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        bar = self.diffusion.alpha_bars[timesteps][:, None]
        variance = bar * SPREAD**2 + 1 - bar
        offsets = noisy[:, None] - bar.sqrt()[..., None] * self.get_buffer("centres")
        weights = torch.softmax(-offsets.square().sum(-1) / (2 * variance), dim=1)
        pull = (weights[..., None] * offsets).sum(dim=1) / variance
        return ((1 - bar).sqrt() * pull).to(noisy.dtype)


class PointNetwork(nn.Module):
    """A few layers on points in the plane and a timestep."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, points: Tensor, timesteps: Tensor) -> Tensor:
        t = timesteps.float() / TIMESTEPS
        waves = torch.stack([t, t.square(), (math.pi * t).sin(), (math.pi * t).cos()], dim=1)
        out: Tensor = self.layers(torch.cat([points, waves], dim=1))
        return out


def train_one_step(*, steps: int, seed: int, batch: int = 256) -> list[Tensor]:
    """Match the ring by distribution matching; 2000 samples [2000,2] before and after each tenth of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        diffusion = Diffusion()
        real = RingScore(diffusion)
        generator, fake = PointNetwork(), PointNetwork()
        optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
        fake_optimizer = torch.optim.Adam(fake.parameters(), lr=2e-3)
        start = torch.randn(2000, 2)
        history = [_samples(generator, start)]
        for step in range(steps):
            for _ in range(FAKE_SCORE_STEPS):
                _step(
                    fake_optimizer, _fake_error(diffusion, fake, _samples(generator, torch.randn(batch, 2)))
                )
            points = _one_step(generator, torch.randn(batch, 2))
            _step(optimizer, _matching(diffusion, real, fake, points))
            if (step + 1) % max(steps // 10, 1) == 0:
                history.append(_samples(generator, start))
    return history


def _one_step(generator: nn.Module, noise: Tensor) -> Tensor:
    points: Tensor = generator(noise, torch.zeros(len(noise)))
    return 0.3 * noise + 4.0 + points  # a bad start: one blob, beside the ring


@torch.no_grad()
def _samples(generator: nn.Module, noise: Tensor) -> Tensor:
    return _one_step(generator, noise)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _fake_error(diffusion: Diffusion, fake: nn.Module, points: Tensor) -> Tensor:
    noise, timesteps = torch.randn_like(points), torch.randint(TIMESTEPS, (len(points),))
    return F.mse_loss(fake(diffusion.add_noise(points, noise, timesteps), timesteps), noise)


def _matching(diffusion: Diffusion, real: nn.Module, fake: nn.Module, points: Tensor) -> Tensor:
    noise, timesteps = torch.randn_like(points), torch.randint(20, 641, (len(points),))
    with torch.no_grad():
        noisy = diffusion.add_noise(points, noise, timesteps)
        clean = [diffusion.clean(noisy, score(noisy, timesteps), timesteps) for score in (real, fake)]
        gradient = dmd_gradient(points.double(), clean[0], clean[1])
    return dmd_loss(points, gradient)


def sliced_distance(a: Tensor, b: Tensor, slices: int = 64) -> float:
    """Mean distance between sorted projections of equally many points on evenly turned lines."""
    angles = math.pi * torch.arange(slices) / slices
    lines = torch.stack([angles.cos(), angles.sin()])
    return float(((a @ lines).sort(dim=0).values - (b @ lines).sort(dim=0).values).abs().mean())


def main() -> None:
    """Train, print the distances and draw."""
    import matplotlib
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(description="Draw distribution matching on eight known modes.")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    path = parser.parse_args().picture
    matplotlib.use("Agg")
    data = ring_of_modes(2000, seed=1)
    history = train_one_step(steps=DRAWN_STEPS, seed=0)
    shown = [0, 1, 4, len(history) - 1]
    figure, panels = pyplot.subplots(1, len(shown), figsize=(12, 3.4), sharex=True, sharey=True)
    for panel, index in zip(panels, shown, strict=True):
        distance = sliced_distance(history[index], data)
        panel.scatter(*data.T, s=1, c="tab:orange", label="data")
        panel.scatter(*history[index].T, s=1, c="tab:blue", alpha=0.5, label="generator")
        panel.set_title(f"step {index * DRAWN_STEPS // 10}: distance {distance:.3f}", fontsize=9)
        panel.set_aspect("equal")
        print(f"step {index * DRAWN_STEPS // 10}: sliced Wasserstein distance {distance:.3f}")
    panels[0].legend(markerscale=6, loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
