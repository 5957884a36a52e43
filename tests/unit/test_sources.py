"""Local data is found first, and what is missing or broken is one clear sentence."""

import pandas as pd
import pytest

from reprolib.data.sources import DataNotFound, find_local, not_found, read_parquet


def test_the_mirror_is_used_when_it_is_there(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    assert find_local("mnist") == tmp_path / "mnist"
    assert find_local("cifar10") is None


def test_no_mirror_is_no_error_but_a_wrong_one_is(tmp_path, monkeypatch):
    monkeypatch.delenv("REPROLIB_DATA", raising=False)
    assert find_local("mnist") is None
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataNotFound, match="REPROLIB_DATA names"):
        find_local("mnist")


def test_a_truncated_parquet_file_is_named(tmp_path):
    whole = tmp_path / "train.parquet"
    pd.DataFrame({"label": range(1000)}).to_parquet(whole)
    assert len(read_parquet(whole)) == 1000
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(ValueError, match="train.parquet is truncated"):
        read_parquet(whole)


def test_not_found_says_where_and_how():
    error = not_found("Cora", ["REPROLIB_DATA", "the hub"], "set REPROLIB_DATA.")
    assert str(error) == "Cora was not found in REPROLIB_DATA, the hub: set REPROLIB_DATA."
