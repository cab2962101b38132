"""MobileNetV2, whose frozen features judge pictures and make the tokens of a tokenizer.

A plain torch module with the key names of its weights file. Nothing here knows the codec, and no weights
are downloaded: the caller names a file.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
