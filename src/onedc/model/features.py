"""Frozen feature networks that judge pictures: LPIPS over SqueezeNet 1.1, and MobileNetV2.

Plain torch modules with the key names of their weights files; they serve as a training loss and as metrics.
Nothing here knows the codec, and no weights are downloaded: the caller names a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from onedc.errors import WeightsError

M = TypeVar("M", bound=nn.Module)

LPIPS_SQUEEZE_FILE = "lpips_squeeze.safetensors"
"""Name that LPIPS-squeeze has in a folder of metric weights."""


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


def _squeezenet_features() -> nn.Sequential:
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


class LPIPSSqueeze(nn.Module):
    """Learned perceptual distance, version 0.1, on SqueezeNet 1.1 features.

    Gradients reach the inputs, not the weights. Images need at least 32 pixels a side to be of any meaning.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018.
    """

    TAPS = (1, 4, 7, 9, 10, 11, 12)
    WIDTHS = (64, 128, 256, 384, 384, 512, 512)
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"features": _squeezenet_features()})
        for level, width in enumerate(self.WIDTHS):
            self.add_module(f"lin{level}", nn.Conv2d(width, 1, 1, bias=False))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]))
        self.requires_grad_(False).eval()

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features of all seven taps of x [B,3,H,W] in [-1,1]; keep them to reuse a target."""
        h = (x - self.shift.view(1, 3, 1, 1)) / self.scale.view(1, 3, 1, 1)
        taps = []
        for index, layer in enumerate(self.net["features"].children()):
            h = layer(h)
            if index in self.TAPS:
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


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: the odd pixel of padding goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',ceil(H/stride),ceil(W/stride)]."""
        pads: list[int] = []
        for size, kernel, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


def _conv_relu6(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(SameConv2d(c_in, c_out, kernel, stride=stride, groups=groups), nn.ReLU6())


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1x1, depthwise 3x3, project by a linear 1x1, add where shapes allow."""

    def __init__(self, c_in: int, c_out: int, stride: int, expand: int) -> None:
        super().__init__()
        width = c_in * expand
        layers: list[nn.Module] = [_conv_relu6(c_in, width, 1)] if expand > 1 else []
        layers.append(_conv_relu6(width, width, 3, stride, groups=width))
        layers.append(nn.Sequential(SameConv2d(width, c_out, 1)))
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """[B,c_in,H,W] -> [B,c_out,H/stride,W/stride]."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2Features(nn.Module):
    """MobileNetV2 1.0 with batch norm folded in, up to its 1280 mean-pooled features.

    `width` is the number of features, as the Frechet distance asks of any feature module.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
    """

    # (expansion, channels, blocks, stride of the first block)
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    width = 1280

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_relu6(3, 32, 3, stride=2)]
        channels = 32
        for expand, c_out, blocks, first_stride in self.STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, c_out, first_stride if block == 0 else 1, expand))
                channels = c_out
        layers.append(_conv_relu6(channels, self.width, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(self.width, 1001)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Features [B,1280] of images [B,3,H,W] in [-1,1]."""
        return self.maps(x).mean(dim=(2, 3))

    def maps(self, x: Tensor) -> Tensor:
        """Features [B,1280,H/32,W/32] of images [B,3,H,W] in [-1,1]."""
        return self.features((x * 127.5 - 0.5) / 128)  # the network was trained on (byte - 128) / 128


def _load(module: M, path: str | Path) -> M:
    """Fill a module from a safetensors file whose keys are the module's."""
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not hold the weights of {type(module).__name__}") from error
    return module.eval()


def load_lpips_squeeze(path: str | Path) -> LPIPSSqueeze:
    """LPIPS-squeeze with the weights of a safetensors file.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    return _load(LPIPSSqueeze(), path)


def load_mobilenet_v2(path: str | Path) -> MobileNetV2Features:
    """MobileNetV2 features with the weights of a safetensors file.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    return _load(MobileNetV2Features(), path)
