"""Muon: matrices move by an orthogonal step, the rest as by AdamW."""

import copy

import pytest
import torch
from torch import Tensor, nn

from onedc.train.optim.muon import Muon, is_matrix, orthogonal

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


def test_matrices_of_one_shape_together_move_as_by_pytorchs_muon() -> None:
    torch.manual_seed(0)
    shapes = ((64, 96), (64, 96), (96, 64), (40, 24))
    ours = [nn.Parameter(0.05 * torch.randn(shape)) for shape in shapes]
    theirs, start = [nn.Parameter(p.detach().clone()) for p in ours], [p.detach().clone() for p in ours]
    own = Muon(ours, lr=1e-3, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=1e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape)
            b.grad = a.grad.clone()
        own.step()
        reference.step()
    for a, b, begun in zip(ours, theirs, start, strict=True):
        assert (a - b).norm() < 0.03 * (b - begun).norm()


def test_orthogonal_matrices_of_a_stack_are_those_one_by_one() -> None:
    stack = torch.randn(3, 20, 48)
    for one, of_all in zip(stack, orthogonal(stack), strict=True):
        torch.testing.assert_close(orthogonal(one[None])[0], of_all, atol=1e-4, rtol=0)


def test_gradients_stay_for_a_captured_graph_to_write_into() -> None:
    p = nn.Parameter(torch.randn(32, 64))
    p.grad = grad = torch.randn(32, 64)
    Muon([p], lr=LR).step()
    assert p.grad is grad


def test_state_comes_back_into_a_new_optimizer() -> None:
    torch.manual_seed(1)
    parameters = [nn.Parameter(torch.randn(32, 64)), nn.Parameter(torch.randn(8))]
    optimizer = Muon(parameters, lr=LR)
    grads = [[torch.randn(p.shape) for p in parameters] for _ in range(3)]

    def step(which: Muon, number: int) -> None:
        for p, grad in zip(parameters, grads[number], strict=True):
            p.grad = grad.clone()
        which.step()

    step(optimizer, 0)
    state, kept = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in parameters]
    step(optimizer, 1)
    wanted = [p.detach().clone() for p in parameters]
    for p, value in zip(parameters, kept, strict=True):
        p.data.copy_(value)
    other = Muon(parameters, lr=LR)
    other.load_state_dict(state)
    step(other, 1)
    assert all(torch.equal(p, value) for p, value in zip(parameters, wanted, strict=True))


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
