"""A tiny book for tests of the engine, and the definitions of a real chapter for tests of its functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from reprolib.book.chapter import Chapter

HEADER = '''\
# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {{extension: .py, format_name: percent}}
#   kernelspec: {{display_name: Python 3, language: python, name: python3}}
#   chapter:
#     slug: {slug}
#     title: "Tiny"
#     paper: {{title: "On tiny things", authors: [A. Author], year: 2023, venue: "TinyConf", arxiv: "2301.00001"}}
#     part: variance
#     full: {{device: cpu, minutes: 1, memory_gb: 1, data: [], models: [], reduced: ""}}
# ---

# %% [markdown]
r"""
# Tiny
"""
'''
PARAMETERS = """
# %% tags=["parameters"]
scale: str = "small"  # small | full
seed: int = 0  # base seed; every random draw follows from it
device: str = "auto"  # auto | cpu | cuda
dry_run: bool = False  # walk the path with two steps and no verdicts
size: int = 3  # how many
"""


class Book:
    """The folder of a book and what tests do with it."""

    def __init__(self, root: Path):
        self.root = root
        (root / "book").mkdir()
        (root / "chapters").mkdir()

    def add(self, slug: str = "tiny", *cells: str, parameters: str = PARAMETERS, part: str = "variance") -> Chapter:
        """Write a chapter with these code cells."""
        path = self.root / "chapters" / part / f"{slug}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER.format(slug=slug) + parameters + "".join(f"\n# %%\n{cell}\n" for cell in cells))
        return Chapter(path, self.root)

    def files(self) -> list[str]:
        """Everything below the root but the chapters."""
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(name for name in found if not name.startswith("chapters/"))


@pytest.fixture
def book(tmp_path, monkeypatch) -> Book:
    """An empty book; the working directory is in it."""
    monkeypatch.delenv("REPROLIB_ROOT", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    root = tmp_path / "tiny-book"
    root.mkdir()
    monkeypatch.chdir(root)
    return Book(root)


@pytest.fixture(scope="module")
def chapter(request) -> dict:
    """Imports, functions and classes of the test module's ``CHAPTER``, and its ``CONSTANTS``; nothing of it runs."""
    path, constants = request.module.CHAPTER, getattr(request.module, "CONSTANTS", ())
    tree, names = ast.parse(path.read_text(encoding="utf-8")), {"__name__": request.module.__name__}
    wanted = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, wanted) or isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in constants
    ]
    exec(compile(tree, str(path), "exec"), names)
    return names
