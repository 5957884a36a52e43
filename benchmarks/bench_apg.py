"""APG against diffusers' normalized_guidance, on latents of the usual sizes, with momentum over several steps.

Run: python benchmarks/bench_apg.py (the extra `diffusion` brings diffusers)
Both must give equal results at every step, to single precision. Times are CPU times of a step, the best of several
rounds in which the two take turns. In the paper's terms the scale of diffusers' original formulation is w - 1.
"""

from __future__ import annotations

import time

import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from reprolib.diffusion.guidance import APGuidance

SHAPES = {
    "digits (500, 64)": (500, 64),
    "DiT-XL/2 at 256 (8, 4, 32, 32)": (8, 4, 32, 32),
    "Stable Diffusion XL (2, 4, 128, 128)": (2, 4, 128, 128),
    "pixels (2, 3, 512, 512)": (2, 3, 512, 512),
}
W, ETA, R, MOMENTUM = 15.0, 0.0, 15.0, -0.5  # the paper's for Stable Diffusion XL, as in diffusers
STEPS, ROUNDS = 10, 20


def ours():
    return APGuidance(W, ETA, norm_threshold=R, momentum=MOMENTUM)


def theirs():
    buffer = MomentumBuffer(MOMENTUM)
    return lambda cond, uncond: normalized_guidance(cond, uncond, W - 1, buffer, ETA, R, use_original_formulation=True)


def main() -> None:
    torch.set_num_threads(1)
    methods = {"reprolib": ours, "diffusers": theirs}
    for name, shape in SHAPES.items():
        generator = torch.Generator().manual_seed(0)
        pairs = [torch.randn(2, *shape, generator=generator) for _ in range(STEPS)]
        best = dict.fromkeys(methods, float("inf"))
        for _ in range(ROUNDS):
            results = {}
            for method, make in methods.items():
                guide, begin = make(), time.process_time()
                results[method] = [guide(cond, uncond) for cond, uncond in pairs]
                best[method] = min(best[method], (time.process_time() - begin) / STEPS)
            for a, b in zip(*results.values(), strict=True):
                assert (a - b).abs().max() <= 1e-6 * b.abs().max(), name
        print(name)
        for method, seconds in best.items():
            print(f"  {method:<10} {1e6 * seconds:>9.0f} us {seconds / best['reprolib']:>6.2f}x")
    print("\nBoth agree at every step.")


if __name__ == "__main__":
    main()
