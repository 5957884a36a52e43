"""The table of oracles is read from the tests, and says what their code says."""

from pathlib import Path

import yaml

from reprolib.book.oracles import REASONS, methods, oracles, without

ROOT = Path(__file__).parents[2]
TEST = """
import numpy as np
import pytest
from fractions import Fraction
from scipy import stats
from reprolib.optim.subgm import subgm as descent

LAW = stats.norm()

@pytest.fixture
def package():
    return pytest.importorskip("peft.tuners")

def run(x):
    return descent(x)

def test_steps_equal_those_of_the_package(package):
    assert package(1) == pytest.approx(run(1), abs=1e-7, rel=3e-4)

def test_mean_follows_the_law():
    x = LAW.rvs(100)
    assert abs(x.mean()) < 4 * x.std() / 10

def test_both_are_close():
    assert np.allclose(run(1), float(Fraction(1, 2)))
    assert abs(run(1)) <= 1e-9
"""


def test_methods_packages_and_tolerances_are_read_from_the_code(tmp_path):
    folder = tmp_path / "tests" / "oracle"
    folder.mkdir(parents=True)
    (folder / "test_sub_gradient.py").write_text(TEST)
    steps, mean, close = oracles(tmp_path)
    assert (steps.slug, steps.says, steps.path) == (
        "sub-gradient", "steps equal those of the package", "tests/oracle/test_sub_gradient.py"
    )  # fmt: skip
    assert steps.methods == ("optim.subgm.subgm",) and steps.against == ("peft",)
    assert steps.tolerance == "absolute 1e-7, relative 3e-4" and TEST.splitlines()[steps.line - 1].startswith("def")
    assert (mean.methods, mean.against, mean.tolerance) == ((), ("scipy",), "sampling error")
    assert (close.against, close.tolerance) == (("fractions",), "difference 1e-9, rounding")


def test_every_chapter_has_an_oracle():
    slugs = {path.stem for path in (ROOT / "chapters").glob("*/*.py")}
    assert slugs == {oracle.slug for oracle in oracles(ROOT)}


def test_every_method_without_an_oracle_has_a_reason_and_every_reason_is_needed():
    found = without(oracles(ROOT), ROOT)
    assert [method for method, why in found.items() if not why] == [], "no oracle test calls them: add one, or a reason"
    reasons = yaml.safe_load((ROOT / REASONS).read_text())
    given = {f"{module}.{name}" for module, names in reasons.items() for name in names}
    assert given == set(found), "reasons for methods that are tested by now, or gone"
    assert set(found) < set(methods())
