"""What makes a notebook stale and a recorded trial old, and what does not."""

import ast
import importlib.util
import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprolib.book import digest
from reprolib.book.chapter import Chapter
from reprolib.book.run import plan, run

SOURCE = '''\
import math, json
from reprolib import figures
from reprolib.init.virgin import virgin_
from reprolib.sweep import sweep

DEPTH = 3
METHODS = {"virgin": virgin_}
METHODS["double"] = lambda x: 2 * x


class Model:
    def __init__(self):
        self.depth = DEPTH


def helper(x):
    """Say what it does."""
    return math.sqrt(x)  # exact enough


def unused():
    return 1


def trial(config, seed):
    return {"x": helper(Model().depth) + METHODS["virgin"](seed)}


table = sweep(trial, {}, [0])
'''


@pytest.fixture
def package(tmp_path):
    """A copy of a tiny reprolib."""
    files = {
        "__init__.py": "from reprolib.determinism import seed_all\n",
        "determinism.py": "def seed_all(seed): ...\n",
        "figures.py": "COLOR = 1\n",
        "sweep.py": "from reprolib.book.digest import science\n",
        "book/__init__.py": "",
        "book/digest.py": "",
        "init/__init__.py": "",
        "init/virgin.py": "from ..models import deep\ndef virgin_(x):\n    return deep.scale(x)\n",
        "models/__init__.py": "",
        "models/deep.py": "def scale(x):\n    return x  # as it is\n",
        "models/other.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "here" / "reprolib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "here" / "reprolib"


def edit(package, name, text):
    with (package / name).open("a") as file:
        file.write(text)


def test_parts_name_every_module_that_is_imported_directly_or_not(package):
    modules = set(digest.parts(SOURCE, package=package)) - {"chapter"}
    assert {"reprolib", "reprolib.determinism", "reprolib.init", "reprolib.init.virgin", "reprolib.models"} < modules
    assert {"reprolib.models.deep", "reprolib.sweep", "reprolib.book.digest", "reprolib.figures"} < modules
    assert "reprolib.models.other" not in modules


def test_a_changed_module_changes_its_own_part_only(package):
    before = digest.parts(SOURCE, package=package)
    edit(package, "models/deep.py", "# new\n")
    after = digest.parts(SOURCE, package=package)
    assert [name for name in before if before[name] != after[name]] == ["reprolib.models.deep"]
    assert digest.combine(before) != digest.combine(after)


def test_a_module_that_is_not_imported_does_not_count(package):
    before = digest.parts(SOURCE, package=package)
    edit(package, "models/other.py", "X = 1\n")
    assert digest.parts(SOURCE, package=package) == before


def test_parameters_count_in_any_order():
    assert digest.parts("", {"a": 1, "b": 2}) == digest.parts("", {"b": 2, "a": 1}) != digest.parts("", {"a": 1})


def test_digests_do_not_depend_on_place_time_or_line_endings(package, tmp_path):
    before = digest.parts(SOURCE, package=package), digest.sciences(SOURCE, package)
    moved = tmp_path / "elsewhere"
    shutil.copytree(package, moved)
    for path in moved.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert (digest.parts(SOURCE, package=moved), digest.sciences(SOURCE, moved)) == before


@pytest.mark.parametrize(
    "old, new",
    [
        ("DEPTH = 3", "DEPTH = 4"),
        ("math.sqrt", "math.exp"),
        ("self.depth = DEPTH", "self.depth = DEPTH + 1"),
        ("2 * x", "3 * x"),
        ('METHODS["virgin"](seed)', 'METHODS["double"](seed)'),
        ("import math, json", "import cmath as math, json"),
    ],
)
def test_science_sees_everything_that_the_trial_uses(package, old, new):
    assert digest.sciences(SOURCE.replace(old, new), package) != digest.sciences(SOURCE, package)


@pytest.mark.parametrize(
    "old, new",
    [
        ("return 1", "return 2"),
        ("exact enough", "near enough"),
        ("Say what it does.", "Explain\n\n    at length."),
        ("import math, json", "import math"),
        ("{}, [0]", "{}, [1]"),
        ("\n\n\n", "\n\n"),
    ],
)
def test_science_does_not_see_what_cannot_change_a_result(package, old, new):
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE and digest.sciences(changed, package) == digest.sciences(SOURCE, package)


def test_science_follows_the_modules_of_reprolib_but_not_figures_and_the_book(package):
    before = digest.sciences(SOURCE.replace("return {", "figures; return {"), package)
    edit(package, "figures.py", "COLOR = 2\n")
    edit(package, "book/digest.py", "X = 2\n")
    edit(package, "models/deep.py", "# a comment\n")
    assert digest.sciences(SOURCE.replace("return {", "figures; return {"), package) == before
    edit(package, "models/deep.py", "X = 2\n")
    assert digest.sciences(SOURCE.replace("return {", "figures; return {"), package) != before


def test_science_sees_an_import_inside_the_trial(package):
    inside = "def trial(c, s):\n    from reprolib.models import deep\n    return deep.scale(s)\nsweep(trial, {}, [0])\n"
    before = digest.sciences(inside, package)
    edit(package, "models/deep.py", "X = 2\n")
    assert digest.sciences(inside, package) != before


def test_science_of_a_function_is_that_of_its_source(tmp_path):
    source = SOURCE.replace("reprolib.init.virgin import virgin_", "math import floor as virgin_")
    (tmp_path / "trials.py").write_text(source.replace("table =", "if False:"))
    spec = importlib.util.spec_from_file_location("trials", tmp_path / "trials.py")
    module = sys.modules["trials"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        assert digest.science(module.trial) == digest.sciences(source)["trial"]
    finally:
        del sys.modules["trials"]


def test_science_in_a_notebook_is_that_of_the_chapter(book):
    chapter: Chapter = book.add(
        "tiny",
        "from reprolib.book.digest import science\nBASE = 2",
        "def helper(x):\n    # a comment\n    return x + BASE",
        "def trial(config, seed):\n    return {'x': helper(seed)}\n\ndef sweep(trial, *_):\n    return science(trial)",
        "print(sweep(trial, {}, [0]))",
    )
    (result,) = run(plan([chapter], {}), 1)
    assert f'"{digest.sciences(chapter.source)["trial"]}\\n"' in result.path.read_text()


@given(st.lists(st.sampled_from(["# note", "", "    # deep note"]), max_size=5), st.integers(0, 6))
def test_code_drops_comments_and_blank_lines_wherever_they_stand(noise, row):
    lines = ["def f(x):", "    '''Doc.'''", "    y = '# kept'", "    return x, y", "", "Z = 1"]
    noisy = "\n".join([*lines[:row], *noise, *lines[row:]]) + "\n"
    code = digest.code(noisy)
    assert code == "def f(x):\n    y = '# kept'\n    return x, y\nZ = 1"
    ast.parse(code)
