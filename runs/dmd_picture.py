"""Draw distribution matching on eight known modes: python runs/dmd_picture.py docs/images/dmd.png"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from onedc.train.toy import ring_of_modes, sliced_distance, train_one_step

STEPS = 4000


def main() -> None:
    """Train, print the distances and draw."""
    parser = argparse.ArgumentParser(description="Draw distribution matching on eight known modes.")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    path = parser.parse_args().picture
    data = ring_of_modes(2000, seed=1)
    history = train_one_step(steps=STEPS, seed=0)
    shown = [0, 1, 4, len(history) - 1]
    figure, panels = pyplot.subplots(1, len(shown), figsize=(12, 3.4), sharex=True, sharey=True)
    for panel, index in zip(panels, shown, strict=True):
        distance = sliced_distance(history[index], data)
        panel.scatter(*data.T, s=1, c="tab:orange", label="data")
        panel.scatter(*history[index].T, s=1, c="tab:blue", alpha=0.5, label="generator")
        panel.set_title(f"step {index * STEPS // 10}: distance {distance:.3f}", fontsize=9)
        panel.set_aspect("equal")
        print(f"step {index * STEPS // 10}: sliced Wasserstein distance {distance:.3f}")
    panels[0].legend(markerscale=6, loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
