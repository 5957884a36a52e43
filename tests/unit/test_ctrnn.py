"""The recurrent network, alone and stacked."""

import pytest
import torch

from reprolib.models.ctrnn import ctrnn


def weights(*shape):
    generator = torch.Generator().manual_seed(0)
    sizes = ((6, 3), (6, 6), (2, 6))
    return [0.5 * torch.randn(*shape, *size, generator=generator) for size in sizes]


def test_stacked_networks_equal_single_ones():
    x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))
    stacked = weights(3)
    outputs, hidden = ctrnn(x, *stacked, alpha=0.7)
    assert outputs.shape == (3, 5, 4, 2) and hidden.shape == (3, 5, 4, 6)
    for k, single in enumerate(zip(*stacked, strict=True)):
        y, h = ctrnn(x, *single, alpha=0.7)
        torch.testing.assert_close(outputs[k], y)
        torch.testing.assert_close(hidden[k], h)


def test_without_recurrence_activity_fades_by_one_minus_alpha():
    w_in, w_h, w_out = weights()
    x = torch.zeros(3, 1, 3)
    x[0] = 1
    _, hidden = ctrnn(x, w_in, torch.zeros_like(w_h), w_out, alpha=0.25)
    torch.testing.assert_close(hidden[2], 0.75**2 * hidden[0])


@pytest.mark.parametrize("steps, alpha", [(0, 1.0), (2, 0.0), (2, 1.5)])
def test_bad_arguments_stop_at_once(steps, alpha):
    with pytest.raises(ValueError):
        ctrnn(torch.zeros(steps, 1, 3), *weights(), alpha=alpha)
