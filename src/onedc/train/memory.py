"""What makes a big stage fit: activations computed twice instead of kept, weights kept in half the bits."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from onedc.model.blocks import Link


def recompute(module: nn.Module) -> None:
    """From now on only the inputs of its links are kept; the backward pass runs each link again."""
    for part in module.modules():
        if isinstance(part, Link):
            part.recompute = True


def halve(parameters: Iterable[nn.Parameter]) -> None:
    """Keep matrices and kernels in bf16, for use under autocast; vectors (norms, biases) stay fp32."""
    for parameter in parameters:
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(torch.bfloat16)
