"""Effective rank, alignment of kernels, tangent kernels."""

import pytest
import torch

from reprolib.metrics.kernels import effective_rank, jacobian_gram, kernel_alignment


def test_effective_rank_counts_equal_values_and_ignores_scale():
    W = torch.diag(torch.tensor([2.0, 2, 2, 0]))
    assert effective_rank(W).item() == pytest.approx(3)
    assert effective_rank(1e-3 * torch.stack([W, torch.eye(4)])).tolist() == pytest.approx([3, 4])


def test_alignment_is_a_cosine_without_centering():
    K, L = torch.diag(torch.tensor([1.0, 0])), torch.diag(torch.tensor([0.0, 1]))
    assert kernel_alignment(K, 5 * K).item() == pytest.approx(1)
    assert kernel_alignment(K, L).item() == kernel_alignment(K, 0 * L).item() == 0
    ones = torch.ones(3, 3)
    assert kernel_alignment(ones, torch.eye(3)).item() == pytest.approx(3**-0.5)  # a centered one would be 0
    assert kernel_alignment(torch.stack([K, L]), torch.stack([K, K])).tolist() == pytest.approx([1, 0])


def test_gram_matrix_is_that_of_sums_of_outer_products():
    errors = torch.tensor([[[1.0, 0], [0, 1]], [[2, 0], [0, 0]]])  # two outputs, two times, two units
    activity = torch.tensor([[[3.0], [1]], [[1], [5]]])
    J = torch.tensor([[3.0, 1], [2, 0]])
    torch.testing.assert_close(jacobian_gram(errors, activity), J @ J.T)
    stacked = jacobian_gram(torch.stack([errors, 2 * errors]), activity.expand(2, -1, -1, -1))
    torch.testing.assert_close(stacked, torch.stack([J @ J.T, 4 * J @ J.T]))
