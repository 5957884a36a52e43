"""Data sets and models of the hub: the mirror first, a pinned commit, one sentence when there is no network."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from reprolib.data import hub
from reprolib.data.sources import DataNotFound, pinned, require
from reprolib.models import hub as models

OTHER = "0123456789abcdef0123456789abcdef01234567"
pytest.importorskip("pyarrow")


def write(root, path, **columns):
    """Write a parquet file below `root`."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(root / path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty mirror."""
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What `datasets` was asked for; it answers with a small table, and a download is never made."""
    datasets = pytest.importorskip("datasets")
    calls = []

    def load_dataset(name, config, *, split, revision, streaming):
        calls.append((name, config, split, revision, streaming))
        table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
        return table.to_iterable_dataset() if streaming else table

    monkeypatch.delenv("REPROLIB_DATA", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_the_mirror_is_read_shard_after_shard_without_the_hub(mirror, asked, monkeypatch):
    monkeypatch.setenv("REPROLIB_DATA", str(mirror))
    for i in (1, 0):
        write(mirror, f"glue/sst2/train-0000{i}-of-00002.parquet", sentence=[f"{i}a", f"{i}b"], label=[0, 1])
    assert list(hub.load("nyu-mll/glue", "sst2").sentence) == ["0a", "0b", "1a", "1b"]
    assert list(hub.load("nyu-mll/glue", "sst2", rows=3).sentence) == ["0a", "0b", "1a"]
    assert list(hub.load("nyu-mll/glue", "sst2", rows=2).sentence) == ["0a", "0b"]
    assert len(hub.load("nyu-mll/glue", "sst2", rows=99)) == 4
    assert asked == []


def test_fineweb_is_found_where_the_hub_has_it(mirror):
    write(mirror, "fineweb/sample/10BT/000_00000.parquet", text=["a", "b"])
    write(mirror, "fineweb/sample/10BT/001_00000.parquet", text=["c", "d"])
    assert list(hub.load("HuggingFaceFW/fineweb", rows=3).text) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="say how many rows"):
        hub.load("HuggingFaceFW/fineweb")


def test_a_mirror_that_lacks_a_shard_is_not_taken_for_the_whole(mirror):
    write(mirror, "glue/sst2/train-00000-of-00002.parquet", sentence=["a"], label=[0])
    with pytest.raises(DataNotFound, match="1 of 2 files of 'train'"):
        hub.load("nyu-mll/glue", "sst2", stand_in=True)


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize("keep", [0, 4, -40])
def test_a_truncated_file_is_one_sentence(mirror, rows, keep):
    path = mirror / "glue/sst2/train-00000-of-00001.parquet"
    write(mirror, path, sentence=["a"] * 1000, label=[0] * 1000)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="train-00000-of-00001.parquet is truncated") as caught:
        hub.load("nyu-mll/glue", "sst2", rows=rows)
    assert "\n" not in str(caught.value)


def test_the_hub_is_asked_for_the_pinned_commit(asked):
    assert list(hub.load("stanfordnlp/imdb", rows=2).text) == ["a", "b"]
    assert list(hub.load("stanfordnlp/imdb", split="test", rows=9, revision=OTHER).label) == [0, 1, 0]
    commit = hub.CARDS["stanfordnlp/imdb"].revision
    assert asked == [
        ("stanfordnlp/imdb", "plain_text", "train", commit, False),
        ("stanfordnlp/imdb", "plain_text", "test", OTHER, False),
    ]


def test_of_a_large_set_only_the_rows_asked_for_are_streamed(asked):
    assert list(hub.load("HuggingFaceFW/fineweb-edu", rows=2).text) == ["a", "b"]
    assert asked[0][-1] is True


def test_encoded_images_come_alike_from_the_hub_and_from_the_mirror(mirror, asked, monkeypatch):
    import datasets

    content = {"image": [{"bytes": b"one", "path": None}, {"bytes": b"two", "path": None}], "label": [3, 4]}
    write(mirror, "mnist/mnist/test-00000-of-00001.parquet", **content)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict(content, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    from_hub = hub.load("ylecun/mnist", split="test")
    monkeypatch.setenv("REPROLIB_DATA", str(mirror))
    pd.testing.assert_frame_equal(hub.load("ylecun/mnist", split="test"), from_hub)


def test_only_a_commit_is_a_revision(asked):
    with pytest.raises(ValueError, match="branches move, got 'main'"):
        hub.load("stanfordnlp/imdb", revision="main")
    with pytest.raises(ValueError, match="no revision of 'some/set' is pinned"):
        hub.load("some/set")
    assert asked == []
    assert len(hub.load("some/set", revision=OTHER)) == 3


def test_every_pinned_revision_is_a_commit():
    tables = (models.TRANSFORMERS, models.DIFFUSERS)
    commits = {name: card.revision for name, card in hub.CARDS.items()}
    commits |= {name: commit for table in tables for name, (_, commit) in table.items()}
    assert all(pinned(name, commit) == commit for name, commit in commits.items())
    assert len(set(commits.values())) == len(commits)  # none pasted twice


def test_arguments_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="config of nyu-mll/glue must be one of 'cola', 'sst2'"):
        hub.load("nyu-mll/glue")
    with pytest.raises(ValueError, match="rows must be at least 1"):
        hub.load("nyu-mll/glue", "sst2", rows=0)


@pytest.mark.parametrize("task", hub.CARDS["nyu-mll/glue"].text)
def test_a_stand_in_has_the_columns_says_so_and_downloads_nothing(asked, capsys, task):
    frame = hub.load("nyu-mll/glue", task, rows=50, stand_in=True)
    columns, classes = hub.CARDS["nyu-mll/glue"].text[task]
    assert list(frame) == [*columns, "label"] and len(frame) == 50
    assert frame.label.nunique() == classes if classes else frame.label.between(0, 5).all()
    assert capsys.readouterr().out.count(f"({task}, train) is not on disk: 50 rows of random words stand in") == 1
    pd.testing.assert_frame_equal(frame, hub.load("nyu-mll/glue", task, rows=50, stand_in=True))
    assert asked == []


def test_no_stand_in_is_taken_where_the_data_is_there_or_its_shape_is_not_known(mirror, capsys):
    write(mirror, "glue/sst2/train-00000-of-00001.parquet", sentence=["real"], label=[1])
    assert list(hub.load("nyu-mll/glue", "sst2", stand_in=True).sentence) == ["real"]
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="has no stand-in"):
        hub.load("ylecun/mnist", stand_in=True)


@pytest.mark.parametrize(
    ("library", "call", "extra"),
    [
        ("datasets", lambda: hub.load("stanfordnlp/imdb"), "hub"),
        ("transformers", lambda: models.transformer("google-t5/t5-small", tiny=True), "language"),
        ("diffusers", lambda: models.diffuser("google/ddpm-cifar10-32", tiny=True), "diffusion"),
    ],
)
def test_a_missing_library_is_one_sentence_with_its_extra(monkeypatch, library, call, extra):
    monkeypatch.delenv("REPROLIB_DATA", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        call()
    assert str(caught.value) == f"{library} is not installed: run `pip install 'reprolib[{extra}]'`."


def test_an_installed_library_is_not_blamed_for_what_it_lacks_itself(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import surely_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'surely_not_there'"):
        require("half_installed", "hub")


OFFLINE = """
import json, sys
from reprolib.data import hub, vision
from reprolib.models import hub as models
assert not {"datasets", "transformers", "diffusers"} & set(sys.modules), "imported before they are needed"
calls = dict(
    data=lambda: hub.load("nyu-mll/glue", "sst2"),
    stream=lambda: hub.load("HuggingFaceFW/fineweb", rows=5),
    vision=lambda: vision.load("fashion_mnist"),
    transformer=lambda: models.transformer("google-t5/t5-small"),
    tokenizer=lambda: models.tokenizer("google-t5/t5-small"),
    diffuser=lambda: models.diffuser("facebook/DiT-XL-2-256"),
)
answers = {}
for name in sys.argv[1:]:
    try:
        calls[name]()
    except Exception as error:
        answers[name] = type(error).__name__ + ": " + str(error)
print(json.dumps(answers))
"""


@pytest.mark.parametrize(
    ("variable", "wanted"),
    [
        (
            "HF_HUB_OFFLINE",
            {
                "data": "$REPROLIB_DATA/glue/sst2/train-*.parquet",
                "stream": "$REPROLIB_DATA/fineweb/sample/10BT/train-*.parquet",
                "vision": "$REPROLIB_DATA/fashion_mnist/fashion_mnist/train-*.parquet",
                "transformer": "$REPROLIB_DATA/t5-small/config.json",
                "tokenizer": "$REPROLIB_DATA/t5-small/config.json",
                "diffuser": "$REPROLIB_DATA/DiT-XL-2-256/transformer/config.json",
            },
        ),
        ("HF_DATASETS_OFFLINE", {"data": "$REPROLIB_DATA/glue/sst2/train-*.parquet"}),
    ],
)
def test_offline_is_respected_at_once_and_answered_in_one_sentence(tmp_path, variable, wanted):
    for library in ("datasets", "transformers", "diffusers"):
        pytest.importorskip(library)
    drop = ("REPROLIB_DATA", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    env = {key: value for key, value in os.environ.items() if key not in drop}
    env |= {variable: "1", "HF_HOME": str(tmp_path), "XDG_DATA_DIRS": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE, *wanted], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert "Retrying" not in run.stderr  # nothing tried to reach a network
    answers = json.loads(run.stdout.splitlines()[-1])
    for call, place in wanted.items():
        answer = answers[call]
        assert answer.startswith("DataNotFound: ") and f"was not found in {place}, the hub: connect" in answer
        assert "set REPROLIB_DATA to a folder" in answer and "\n" not in answer and answer.endswith(").")
    assert "Debian's package dataset-fashion-mnist" in answers.get("vision", "Debian's package dataset-fashion-mnist")


@pytest.mark.parametrize("name", models.TRANSFORMERS)
def test_a_tiny_transformer_has_the_architecture_is_small_and_follows_the_seed(name):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = models.transformer(name, tiny=True)
    assert model.config.model_type == models.TRANSFORMERS[name][0]
    assert sum(p.numel() for p in model.parameters()) < 100_000
    assert not model.training and {p.dtype for p in model.parameters()} == {torch.float32}
    torch.manual_seed(0)
    again = models.transformer(name, tiny=True)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


TEXT = [name for name, (kind, _) in models.TRANSFORMERS.items() if kind not in ("vit", "vit_mae", "clip")]


@pytest.mark.parametrize("name", TEXT)
def test_a_tiny_transformer_reads_what_its_tiny_tokenizer_writes(name):
    pytest.importorskip("transformers")
    tokens = models.tokenizer(name, tiny=True)(["Größe matters", "x"], padding=True, return_tensors="pt")
    model = models.transformer(name, "AutoModelForSequenceClassification", tiny=True, num_labels=3)
    logits = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits
    assert logits.shape == (2, 3)
    tokens.input_ids[1, -1] = 5  # what the mask leaves out counts nowhere
    again = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits
    assert torch.equal(logits[0], again[0])
    if models.TRANSFORMERS[name][0] in ("bert", "roberta", "deberta-v2"):  # the others look for the last real token
        torch.testing.assert_close(logits[1], again[1])


@pytest.mark.parametrize("size", ["d_model", "hidden_size"])
def test_a_tiny_transformer_takes_real_sizes_under_either_name(size):
    pytest.importorskip("transformers")
    model = models.transformer("google-t5/t5-base", tiny=True, **{size: 96})
    assert model.shared.weight.shape == (384, 96)


def test_a_mirrored_model_is_read_without_network_in_single_precision(mirror):
    pytest.importorskip("transformers")
    saved = models.transformer("FacebookAI/roberta-base", tiny=True)
    saved.to(torch.bfloat16).save_pretrained(mirror / "roberta-base")
    loaded = models.transformer("FacebookAI/roberta-base")
    assert not loaded.training and {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(
        loaded.embeddings.word_embeddings.weight, saved.embeddings.word_embeddings.weight.float()
    )
    weights = mirror / "roberta-base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match="FacebookAI/roberta-base in the mirror cannot be read") as caught:
        models.transformer("FacebookAI/roberta-base")
    assert "\n" not in str(caught.value)


def test_a_mirrored_part_of_a_pipeline_is_read_from_its_subfolder(mirror):
    pytest.importorskip("diffusers")
    saved = models.diffuser("facebook/DiT-XL-2-256", tiny=True)
    saved.to(torch.float16).save_pretrained(mirror / "DiT-XL-2-256" / "transformer")
    loaded = models.diffuser("facebook/DiT-XL-2-256")
    assert not loaded.training and {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded.config.num_layers == saved.config.num_layers


@pytest.mark.parametrize(
    ("name", "part", "inputs"),
    [
        ("google/ddpm-cifar10-32", None, [(2, 3, 32, 32)]),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "unet", [(2, 4, 8, 8), (2, 5, 32)]),
        ("facebook/DiT-XL-2-256", None, [(2, 4, 8, 8)]),
    ],
)
def test_a_tiny_denoiser_denoises(name, part, inputs):
    pytest.importorskip("diffusers")
    model = models.diffuser(name, part, tiny=True)
    noisy, *condition = (torch.randn(shape) for shape in inputs)
    steps = torch.tensor([1, 500])
    given = dict(class_labels=torch.tensor([0, 999])) if "DiT" in name else {}
    out = model(noisy, steps, *condition, **given).sample
    channels = 8 if "DiT" in name else noisy.shape[1]  # DiT also predicts a variance
    assert out.shape == (2, channels, *noisy.shape[2:]) and out.isfinite().all()


def test_a_tiny_autoencoder_maps_images_to_latents_and_back():
    pytest.importorskip("diffusers")
    vae = models.diffuser("facebook/DiT-XL-2-256", "vae", tiny=True)
    images = torch.randn(1, 3, 32, 32)
    latents = vae.encode(images).latent_dist.mode()
    assert latents.shape[:2] == (1, 4) and vae.decode(latents).sample.shape == images.shape


def test_an_unknown_model_or_part_is_refused_with_the_known_ones():
    for library in ("transformers", "diffusers"):
        pytest.importorskip(library)
    with pytest.raises(ValueError, match="'google-t5/t5-base'"):
        models.transformer("t5-base", tiny=True)
    with pytest.raises(ValueError, match="no revision of 'some/model' is pinned"):
        models.transformer("some/model")
    with pytest.raises(ValueError, match="part of facebook/DiT-XL-2-256 must be one of 'transformer', 'vae'"):
        models.diffuser("facebook/DiT-XL-2-256", "unet")
