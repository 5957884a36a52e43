"""EVA's initialization against peft's own, on a transformer with the shapes of a small sentence encoder.

Run: python benchmarks/bench_eva.py (needs the extra `adapters`)
Both find directions and ranks for the 36 linear layers of a BERT of six layers (width 384, random weights, so that
nothing is downloaded) on the same batches of random tokens, and load them. reprolib runs centered here, as peft always
does. Results must be equal up to what peft's randomized SVD leaves: ranks to a few of a hundred, and the directions of
every layer. A second part feeds the same rows to the incremental PCA of each library. There singular values and
directions of the exact ones must agree to rounding. Times are CPU times, the best of several rounds in turn.
"""

from __future__ import annotations

import copy
import logging
import time
import warnings

import torch
from sklearn.decomposition import IncrementalPCA as SklearnPCA

from reprolib.init.eva import eva_
from reprolib.linalg.incremental import IncrementalSVD
from reprolib.models import hub

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
    from peft.utils.incremental_pca import IncrementalPCA

ROUNDS, BATCHES, TEXTS, TOKENS, RANK = 3, 12, 16, 32, 8
TARGETS = r".*encoder\.layer\..*\.(query|key|value|dense)"
SIZES = dict(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12, vocab_size=2000)


def timed(best: dict[str, float], name: str, call):
    """Keep the shortest CPU time of a call and return its result."""
    begin = time.process_time()
    result = call()
    best[name] = min(best.get(name, float("inf")), time.process_time() - begin)
    return result


def batches() -> list[dict[str, torch.Tensor]]:
    """Texts of random length whose tokens follow Zipf's law."""
    generator, weight = torch.Generator().manual_seed(0), 1 / torch.arange(1.0, 1999)
    result = []
    for _ in range(BATCHES):
        ids = 2 + torch.multinomial(weight, TEXTS * TOKENS, True, generator=generator).view(TEXTS, TOKENS)
        lengths = torch.randint(TOKENS // 2, TOKENS + 1, (TEXTS, 1), generator=generator)
        mask = (torch.arange(TOKENS) < lengths).long()
        result.append({"input_ids": ids, "attention_mask": mask})
    return result


def whole(tau: float) -> None:
    """Time and compare the initialization of a model."""
    torch.manual_seed(0)
    net = hub.transformer("google-bert/bert-base-uncased", tiny=True, **SIZES)
    data, best, models = batches(), {}, {}
    plain = dict(r=RANK, lora_alpha=RANK, target_modules=TARGETS)
    eva = dict(init_lora_weights="eva", eva_config=EvaConfig(rho=2.0, tau=tau))
    for _ in range(ROUNDS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models["reprolib"] = get_peft_model(copy.deepcopy(net), LoraConfig(**plain))
            models["peft"] = get_peft_model(copy.deepcopy(net), LoraConfig(**plain, **eva))
        timed(best, "reprolib", lambda: eva_(models["reprolib"], data, tau=tau, center=True))
        timed(best, "peft", lambda: initialize_lora_eva_weights(models["peft"], data, show_progress_bar=False))
    rows = {name: {n: p for n, p in m.named_parameters() if "lora_A" in n and len(p)} for name, m in models.items()}
    ranks = {name: {n: len(p) for n, p in found.items()} for name, found in rows.items()}
    moved = sum(abs(ranks["reprolib"].get(n, 0) - ranks["peft"].get(n, 0)) for n in ranks["reprolib"]) // 2
    shared = [n for n in rows["reprolib"] if n in rows["peft"]]
    cosine = [torch.linalg.svdvals(rows["reprolib"][n][: RANK // 2] @ rows["peft"][n].T).min().item() for n in shared]
    assert sum(ranks["reprolib"].values()) == sum(ranks["peft"].values()) == RANK * len(shared)
    assert moved <= 0.05 * RANK * len(shared), moved
    assert min(cosine) > 0.95, min(cosine)
    for name, seconds in best.items():
        print(f"  {name:<12} {1e3 * seconds:>8.0f} ms {seconds / best['reprolib']:>6.1f}x")
    print(f"  ranks that differ: {moved} of {RANK * len(shared)}; smallest cosine of the first {min(cosine):.4f}")


def update(rows: int, features: int) -> None:
    """Time and compare the update alone, ten batches of rows."""
    torch.manual_seed(1)
    X = (torch.randn(10 * rows, features, dtype=torch.float64) * torch.logspace(0, -2, features)) @ torch.linalg.qr(
        torch.randn(features, features, dtype=torch.float64)
    ).Q
    best, found = {}, {}
    for _ in range(ROUNDS):
        for name, svd in {
            "reprolib": IncrementalSVD(2 * RANK, center=True),
            "peft, exact": IncrementalPCA(2 * RANK, lowrank=False),
            "scikit-learn": SklearnPCA(2 * RANK),
            "peft, random": IncrementalPCA(2 * RANK, lowrank=True, lowrank_seed=42),
        }.items():
            parts = [part.numpy() if name == "scikit-learn" else part for part in X.split(rows)]
            found[name] = timed(best, name, lambda svd=svd, parts=parts: [svd.partial_fit(part) for part in parts][-1])
    ours = found["reprolib"]
    for name, svd in found.items():
        S, V = (torch.as_tensor(v).double() for v in (svd.singular_values_, svd.components_))
        error = ((S - ours.singular_values_) / S).abs().max().item()
        cosine = (V * ours.components_).sum(dim=1).abs().min().item()
        if name != "peft, random":
            assert error < 1e-6 and cosine > 1 - 1e-6, (name, error, cosine)
        print(f"  {name:<12} {1e2 * best[name]:>8.2f} ms {best[name] / best['reprolib']:>6.1f}x"
              f"   singular values off by {error:.0e}, cosine at least {cosine:.6f}")  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    print(f"\na transformer of 36 layers, rank {RANK}, rho 2, tau 0.99")
    whole(0.99)
    for rows, features in ((64, 128), (400, 384), (400, 1536)):
        print(f"\none update with {rows} rows of {features} features, {2 * RANK} directions kept")
        update(rows, features)
    print("\nExact methods agree to rounding, the two initializations in ranks and directions.")


if __name__ == "__main__":
    main()
