"""Two noisy signals, and the question which of them is larger: a standard decision task of neuroscience."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

COHERENCES = (0.0, 6.4, 12.8, 25.6, 51.2)  # percent, as in neurogym
NOISE = 0.1  # deviation of a signal at one step of 100 ms


class Trials(NamedTuple):
    """Inputs and targets, time first."""

    x: Float[Tensor, "time batch 3"]
    y: Int[Tensor, "time batch"]


def two_alternative_choice(batch: int, steps: int = 8, generator: torch.Generator | None = None) -> Trials:
    r"""Draw trials: a stimulus for all steps but one, then the decision.

    Channel 0 says "wait" (1 with the stimulus). Channels 1 and 2 are the signals, of mean
    :math:`\frac12\pm\frac c{200}` with the coherence c in percent, plus for the larger one, and with noise of
    deviation 0.1 at every step. At the last step all inputs are 0. Targets: 0 (wait), at the last step the
    channel of the larger signal, 1 or 2. With coherence 0 it is a coin that nothing in the input shows.

    Args:
        batch: number of trials.
        steps: of 100 ms, at least 2.
        generator: draws side, coherence and noise; torch's own when None.

    Raises:
        ValueError: fewer than one trial or two steps.

    Source: ``PerceptualDecisionMaking`` of neurogym, whose early versions set channel 0 as we do. In 2.3
    it is 1 in a fixation period only, and a trial without one has zeros there.
    """
    if batch < 1 or steps < 2:
        raise ValueError(f"a batch needs a trial and a trial two steps, got {batch} and {steps}.")
    side = torch.randint(2, (batch,), generator=generator)
    coherence = torch.tensor(COHERENCES)[torch.randint(len(COHERENCES), (batch,), generator=generator)]
    x = torch.zeros(steps, batch, 3)
    x[:-1, :, 0] = 1
    sign = torch.stack([1.0 - 2 * side, 2.0 * side - 1], dim=-1)
    noise = NOISE * torch.randn(steps - 1, batch, 2, generator=generator)
    x[:-1, :, 1:] = 0.5 + sign * coherence[:, None] / 200 + noise
    y = torch.zeros(steps, batch, dtype=torch.long)
    y[-1] = 1 + side
    return Trials(x, y)
