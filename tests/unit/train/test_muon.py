"""Muon: matrices move by an orthogonal step, the rest as by AdamW."""

import pytest
import torch
from torch import Tensor, nn

from onedc.train.muon import Muon, is_matrix

LR = 1e-2


def moved(p: nn.Parameter, grad: Tensor, kind: type[torch.optim.Optimizer] = Muon) -> Tensor:
    """How a parameter moves in one step, without decay."""
    before, p.grad = p.detach().clone(), grad.clone()
    kind([p], lr=LR, weight_decay=0.0).step()
    return p.detach() - before


def test_a_matrix_moves_by_its_gradients_orthogonal_factor_at_adamws_size() -> None:
    grad = torch.randn(32, 64)
    u, _, vt = torch.linalg.svd(grad, full_matrices=False)
    step = moved(nn.Parameter(torch.randn(32, 64)), grad)
    wanted = -LR * 0.2 * 64**0.5 * (u @ vt)
    similarity = torch.cosine_similarity(step.flatten(), wanted.flatten(), dim=0)
    assert similarity > 0.97
    assert 0.7 < step.norm() / wanted.norm() < 1.3


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_moves_alike_in_both_memory_formats(memory_format: torch.memory_format) -> None:
    weight, grad = torch.randn(24, 32, 3, 3), torch.randn(24, 32, 3, 3)
    as_matrix = moved(nn.Parameter(weight.flatten(1)), grad.flatten(1))
    as_kernel = moved(nn.Parameter(weight.to(memory_format=memory_format)), grad)
    torch.testing.assert_close(as_kernel.flatten(1), as_matrix, atol=3e-4, rtol=0)
    assert as_kernel.abs().mean() > 1e-3


@pytest.mark.parametrize("shape", [(64,), (64, 1, 3, 3), (8, 64)])
def test_what_is_no_matrix_moves_as_by_adamw(shape: tuple[int, ...]) -> None:
    weight, grad = torch.randn(shape), torch.randn(shape)
    assert not is_matrix(weight)
    own = moved(nn.Parameter(weight.clone()), grad)
    assert torch.equal(own, moved(nn.Parameter(weight.clone()), grad, torch.optim.AdamW))
