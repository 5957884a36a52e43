"""The two scales of a chapter: one frozen dataclass of settings, an instance for each scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch

from reprolib.determinism import seed_all

Settings = TypeVar("Settings")
SEEDS_PER_RUN = 1000  # base seeds k and k+1 share no trial seed as long as a claim uses fewer seeds than this


@dataclass(frozen=True)
class Run(Generic[Settings]):
    """What one execution of a chapter was asked to do.

    Attributes:
        slug: the chapter.
        scale: ``"small"`` or ``"full"``.
        seed: the base seed.
        device: where tensors live.
        dry_run: walk the path with a few steps, report no verdict.
        settings: the chapter's settings at this scale (with the dry-run overrides where asked).
    """

    slug: str
    scale: str
    seed: int
    device: torch.device
    dry_run: bool
    settings: Settings

    def seeds(self, n: int) -> list[int]:
        """Return `n` trial seeds that follow from the base seed, none shared with another base seed."""
        if not 1 <= n <= SEEDS_PER_RUN:
            raise ValueError(f"a run has 1 to {SEEDS_PER_RUN} seeds, asked for {n}.")
        return [self.seed * SEEDS_PER_RUN + i for i in range(n)]


def start(
    slug: str,
    scales: Mapping[str, Settings],
    *,
    dry: Mapping[str, Any],
    scale: str = "small",
    seed: int = 0,
    device: str = "auto",
    dry_run: bool = False,
    devices: Sequence[str] = ("cpu", "cuda"),
) -> Run[Settings]:
    """Check a chapter's parameters, seed everything and return the run; nothing is computed before.

    Args:
        slug: the chapter.
        scales: ``{"small": Settings(...), "full": Settings(...)}``, instances of one frozen dataclass.
        dry: the fields that a dry run replaces (fewer steps and seeds, same shapes).
        scale: a key of `scales`.
        seed: a non-negative integer.
        device: ``auto``, ``cpu`` or ``cuda``. ``auto`` is the CPU at small scale, where the committed
            outputs come from, and the GPU at full scale where there is one.
        dry_run: walk the path with `dry`.
        devices: the devices that this chapter can use.

    Raises:
        ValueError: a parameter is not allowed; the sentence names the allowed values.
    """
    if scale not in scales:
        raise ValueError(f"scale must be {_either(scales)}, got {scale!r}.")
    if not isinstance(dry_run, bool):
        raise ValueError(f"dry_run must be True or False, got {dry_run!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**22:
        raise ValueError(f"seed must be an integer from 0 to {2**22 - 1}, got {seed!r}.")
    if not all(is_dataclass(s) for s in scales.values()):
        raise TypeError("every scale must be an instance of a frozen dataclass.")
    where = _device(device, scale, devices)
    settings = replace(scales[scale], **dry) if dry_run else scales[scale]
    seed_all(seed)
    return Run(slug, scale, seed, where, dry_run, settings)


def _device(device: str, scale: str, devices: Sequence[str]) -> torch.device:
    allowed = ["auto", *devices]
    if device not in allowed:
        raise ValueError(f"device must be {_either(allowed)}, got {device!r}.")
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError("device is 'cuda', but torch sees no GPU here: use device='cpu' or 'auto'.")
    if device == "auto":
        device = "cuda" if gpu and scale == "full" and "cuda" in devices else "cpu"
    return torch.device(device)


def _either(names) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
