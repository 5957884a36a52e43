"""Models of the Hugging Face hub, by id and at a pinned revision, and tiny ones of the same architecture.

A model ``owner/name`` is read from ``$REPROLIB_DATA/name`` where that folder holds it as on the hub, else downloaded
once. With ``tiny=True`` it is built from a configuration instead: a few ten thousand random weights, no network.
The hub's own variable holds too: with ``HF_HUB_OFFLINE=1``, set before Python starts, only what is cached is read.
"""

from __future__ import annotations

import torch
from torch import nn

from reprolib.data.sources import find_local, gist, pinned, require, unreachable

# The commits were found in several independent public projects that pin them, or whose caches name them, for these ids.
# Another model, or another commit: pass `revision`, or add a line.
TRANSFORMERS = {  # id: architecture (the configuration's model_type), commit
    "google-bert/bert-base-uncased": ("bert", "86b5e0934494bd15c9632b12f734a8a67f723594"),
    "FacebookAI/roberta-base": ("roberta", "e2da8e2f811d1448a5b465c236feacd80ffbac7b"),
    "FacebookAI/roberta-large": ("roberta", "722cf37b1afa9454edce342e7895e588b6ff1d59"),
    "microsoft/deberta-v3-base": ("deberta-v2", "8ccc9b6f36199bec6961081d44eb72fb3f7353f3"),
    "google-t5/t5-small": ("t5", "df1b051c49625cf57a3d0d8d3863ed4d13564fe4"),
    "google-t5/t5-base": ("t5", "a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1"),
    "openai-community/gpt2": ("gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e"),
    "Qwen/Qwen2.5-0.5B": ("qwen2", "060db6499f32faf8b98477b0a26969ef7d8b9987"),
    "Qwen/Qwen2.5-1.5B-Instruct": ("qwen2", "989aa7980e4cf806f80c7fef2b1adb7bc71aa306"),
    "google/vit-base-patch16-224-in21k": ("vit", "b4569560a39a0f1af58e3ddaf17facf20ab919b0"),
    "facebook/vit-mae-base": ("vit_mae", "25b184bea5538bf5c4c852c79d221195fdd2778d"),
    "openai/clip-vit-base-patch16": ("clip", "57c216476eefef5ab752ec549e440a49ae4ae5f3"),
    "openai/clip-vit-base-patch32": ("clip", "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"),
    "openai/clip-vit-large-patch14": ("clip", "32bd64288804d66eefd0ccbe215aa642df71cc41"),
}
_STABLE = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
DIFFUSERS = {  # id: parts (subfolder on the hub: class), commit
    "google/ddpm-cifar10-32": ({"": "UNet2DModel"}, "267b167dc01f0e4e61923ea244e8b988f84deb80"),
    "facebook/DiT-XL-2-256": (
        {"transformer": "DiTTransformer2DModel", "vae": "AutoencoderKL"},
        "eab87f77abd5aef071a632f08807fbaab0b704d0",
    ),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": (_STABLE, "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"),
}

TINY = dict(  # sizes of a tiny transformer; a configuration takes those that it has
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    d_ff=64, d_kv=8, num_decoder_layers=2, decoder_hidden_size=32, decoder_intermediate_size=64,
    decoder_num_hidden_layers=2, decoder_num_attention_heads=4, projection_dim=16, image_size=32, patch_size=8,
    vocab_size=384, pad_token_id=0, eos_token_id=1, bos_token_id=None,  # those of `tokenizer(tiny=True)`
)  # fmt: skip
_UNET = dict(block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8)
TINY_DIFFUSERS = {
    "UNet2DModel": dict(
        _UNET,
        sample_size=32,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ),
    "UNet2DConditionModel": dict(
        _UNET,
        sample_size=8,
        attention_head_dim=4,
        cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ),
    "AutoencoderKL": dict(
        _UNET, sample_size=32, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2
    ),
    "DiTTransformer2DModel": dict(
        sample_size=8, in_channels=4, out_channels=8, num_layers=2, num_attention_heads=2, attention_head_dim=16
    ),
}


def transformer(
    name: str, auto: str = "AutoModel", *, tiny: bool = False, revision: str | None = None, **config
) -> nn.Module:
    """Return a model of `transformers` in evaluation mode and single precision.

    Args:
        name: its id on the hub, such as ``"google-t5/t5-base"``.
        auto: the class that loads it, such as ``"AutoModelForSequenceClassification"``.
        tiny: build a tiny one with random weights (they follow torch's seed), whatever is on disk.
        revision: the commit to download, 40 hex digits; None for the one in `TRANSFORMERS`.
        **config: changes to its configuration, such as ``num_labels=3``; with `tiny` also sizes, such as
            ``hidden_size=768``, to walk a path at its real shapes.

    Raises:
        ValueError: the id or revision is not known, or the mirror's files cannot be read.
        DataNotFound: neither in the mirror nor to be downloaded.
        ModuleNotFoundError: transformers is not installed.
    """
    library = require("transformers", "language")
    model, config = getattr(library, auto), {"dtype": torch.float32, **config}
    if not tiny:
        return _pretrained(model, name, revision, TRANSFORMERS, **config).eval()
    architecture, _ = _known(name, TRANSFORMERS)
    sizes = _tiny(library.AutoConfig.for_model(architecture), config)
    return getattr(model, "from_config", model)(library.AutoConfig.for_model(architecture, **sizes)).eval()


def tokenizer(name: str, *, tiny: bool = False, revision: str | None = None):
    """Return the tokenizer of a model of `transformers`; arguments and errors as `transformer`.

    With `tiny` it is ByT5's, which maps text to its bytes and needs no file.
    """
    library = require("transformers", "language")
    if tiny:
        _known(name, TRANSFORMERS)
        return library.ByT5Tokenizer()
    return _pretrained(library.AutoTokenizer, name, revision, TRANSFORMERS)


def diffuser(
    name: str, part: str | None = None, *, tiny: bool = False, revision: str | None = None, **config
) -> nn.Module:
    """Return a part of a pipeline of `diffusers`, in evaluation mode and single precision.

    Args:
        name: its id on the hub, a key of `DIFFUSERS`.
        part: which one, such as ``"unet"`` or ``"vae"``; None for the first one in `DIFFUSERS`.
        tiny, revision, **config: as in `transformer`.

    Raises:
        ValueError, DataNotFound, ModuleNotFoundError: as `transformer`.
    """
    parts, _ = _known(name, DIFFUSERS)
    part = next(iter(parts)) if part is None else part
    if part not in parts:
        raise ValueError(f"part of {name} must be one of {', '.join(map(repr, parts))}, got {part!r}.")
    model = getattr(require("diffusers", "diffusion"), parts[part])
    if tiny:
        return model(**{**TINY_DIFFUSERS[parts[part]], **config}).eval()
    return _pretrained(model, name, revision, DIFFUSERS, part, **config).eval()


def _known(name: str, models: dict):
    if name not in models:
        raise ValueError(f"name must be one of {', '.join(map(repr, models))}, got {name!r}.")
    return models[name]


def _tiny(default, changes: dict) -> dict:
    """Return the arguments of a tiny configuration: what of `TINY` `default` has, also in its parts, then `changes`."""
    names = default.attribute_map  # T5 calls hidden_size d_model
    sizes = {names.get(key, key): value for key, value in TINY.items() if hasattr(default, key)}
    sizes |= {part: _tiny(getattr(default, part), {}) for part in default.sub_configs}
    if default.is_encoder_decoder:
        sizes["decoder_start_token_id"] = TINY["pad_token_id"]
    return sizes | {names.get(key, key): value for key, value in changes.items()}


def _pretrained(model, name: str, revision: str | None, models: dict, part: str = "", **config):
    """Call the library's own ``from_pretrained``, on the mirror's folder where it is there, else on the hub."""
    place = {"subfolder": part} if part else {}
    short = name.split("/")[-1]
    folder = find_local(short)
    if folder and (folder / part / "config.json").exists():
        try:
            return model.from_pretrained(folder, local_files_only=True, **place, **config)
        except Exception as error:  # from safetensors, json, pickle and the library's own checks
            raise ValueError(f"{name} in the mirror cannot be read, copy it again ({gist(error)}).") from error
    commit = pinned(name, revision or models.get(name, (None, None))[1])
    try:
        return model.from_pretrained(name, revision=commit, **place, **config)
    except Exception as error:  # no network has as many faces as the libraries below have layers
        layout = "/".join(filter(None, (short, part, "config.json")))
        raise unreachable(name, commit, layout, error, dataset=False) from error
