"""LPIPS, the learned perceptual distance, over SqueezeNet 1.1, VGG16 or AlexNet.

Plain torch modules with the key names of their weights files; they serve as a training loss and as metrics.
Nothing here knows the codec, and no weights are downloaded: the caller names a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Fire(nn.Module):
    """SqueezeNet's block: 1x1 to `squeeze`, then 1x1 and 3x3 side by side, `expand` channels each."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> [B,2*expand,H,W]."""
        x = F.relu(self.squeeze(x))
        return torch.cat((F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))), dim=1)


def _squeezenet() -> nn.Sequential:
    """The convolutional part of SqueezeNet 1.1, [B,3,H,W] -> [B,512,H/16,W/16]."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )


def _vgg16() -> nn.Sequential:
    """The convolutional part of VGG16 without its last pooling, [B,3,H,W] -> [B,512,H/16,W/16]."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
        layers += [nn.MaxPool2d(2, 2)] if layers else []
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def _alexnet() -> nn.Sequential:
    """The convolutional part of AlexNet without its last pooling, [B,3,H,W] -> [B,256,H/16,W/16]."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


@dataclass(frozen=True)
class Backbone:
    """A network whose features are compared."""

    build: Callable[[], nn.Sequential]
    taps: tuple[int, ...]  # layers behind which features are taken
    widths: tuple[int, ...]  # channels of these


BACKBONES = {
    "squeeze": Backbone(_squeezenet, (1, 4, 7, 9, 10, 11, 12), (64, 128, 256, 384, 384, 512, 512)),
    "vgg": Backbone(_vgg16, (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
    "alex": Backbone(_alexnet, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
}
"""By the names that the package lpips has for them."""


class LPIPS(nn.Module):
    """Learned perceptual distance, version 0.1.

    Gradients reach the inputs, not the weights. Images need at least 32 pixels a side to be of any meaning.
    With `average_pooling` maps are averaged where the backbone takes the largest value, as the package piq
    can do; gradients are smoother then, and distances are others.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: str = "squeeze", *, average_pooling: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.widths, self.taps = BACKBONES[backbone].widths, BACKBONES[backbone].taps
        features = BACKBONES[backbone].build()
        if average_pooling:
            features = nn.Sequential(*(_averaging(layer) for layer in features))
        self.net = nn.ModuleDict({"features": features})
        for level, width in enumerate(self.widths):
            self.add_module(f"lin{level}", nn.Conv2d(width, 1, 1, bias=False))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]))
        self.requires_grad_(False).eval()

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features at all taps of x [B,3,H,W] in [-1,1]; keep them to reuse a target."""
        h = (x - self.shift.view(1, 3, 1, 1)) / self.scale.view(1, 3, 1, 1)
        taps = []
        for index, layer in enumerate(self.net["features"].children()):
            h = layer(h)
            if index in self.taps:
                taps.append(h * torch.rsqrt(h.square().sum(dim=1, keepdim=True) + 1e-8))
        return taps

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Distance [B] between two results of `features`."""
        total = a[0].new_zeros(a[0].shape[0])
        for level, (fa, fb) in enumerate(zip(a, b, strict=True)):
            lin = self.get_submodule(f"lin{level}")
            total = total + lin((fa - fb).square()).mean(dim=(1, 2, 3))
        return total

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance [B] between two batches of images, each [B,3,H,W] in [-1,1]."""
        return self.distance(self.features(x), self.features(y))


def _averaging(layer: nn.Module) -> nn.Module:
    """The layer, or an averaging one in the place of a maximum."""
    return nn.AvgPool2d(layer.kernel_size, layer.stride) if isinstance(layer, nn.MaxPool2d) else layer


def backbone_of(state: Mapping[str, Tensor]) -> str:
    """Which backbone the weights of an LPIPS file are of, by its first kernels; "" where there are none."""
    first = state.get("net.features.0.weight")
    if first is None:
        return ""
    if first.shape[-1] == 11:
        return "alex"
    return "vgg" if "net.features.2.weight" in state else "squeeze"
