"""Which independent implementation agrees with each method, read from the source of ``tests/oracle``.

Nothing here is typed by hand but the reasons of ``tests/oracle/none.yml``: what a test calls, which other packages it
asks and how closely they have to agree all stand in its code.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from reprolib.book.digest import NOT_SCIENCE, PACKAGE

ORACLES = "tests/oracle"
REASONS = f"{ORACLES}/none.yml"  # module -> name -> why no oracle test calls it
NO_METHODS = (*NOT_SCIENCE, *(f"reprolib.{name}" for name in ("data", "determinism", "streams", "train")))
GROUND = {"numpy", "torch", "pytest", "reprolib"}  # what every test uses is no second opinion
DEFAULTS = {
    "allclose": "rounding",
    "assert_close": "rounding",
    "assert_allclose": "rounding",
    "approx": "relative 1e-6",
    "gradcheck": "finite differences",
}  # asked without a number
TOLERANCES = {"atol": "absolute", "abs": "absolute", "rtol": "relative", "rel": "relative"}


@dataclass(frozen=True)
class Oracle:
    """One test against an independent implementation.

    Attributes:
        slug: the chapter.
        says: the test's name as a sentence.
        path, line: where it stands, from the project's root.
        methods: what it calls of reprolib, as ``module.name`` without the package.
        against: the packages it asks; none where it calculates the answer itself.
        tolerance: how closely both have to agree, in words.
    """

    slug: str
    says: str
    path: str
    line: int
    methods: tuple[str, ...]
    against: tuple[str, ...]
    tolerance: str


def oracles(root: Path | str = ".") -> list[Oracle]:
    """Read all oracle tests below `root`, by file and line."""
    root = Path(root)
    found = []
    for path in sorted((root / ORACLES).glob("test_*.py")):
        source = _Source(ast.parse(path.read_text(encoding="utf-8")))
        slug, where = path.stem.removeprefix("test_").replace("_", "-"), path.relative_to(root).as_posix()
        for name, node in source.functions.items():
            if name.startswith("test_"):
                methods, against = source.used(name)
                says = name.removeprefix("test_").replace("_", " ")
                found.append(Oracle(slug, says, where, node.lineno, methods, against, tolerance(node)))
    return found


def tolerance(test: ast.FunctionDef) -> str:
    """Return how closely a test wants its two sides to agree, as far as its code says it in numbers."""
    limits: dict[str, float] = {}
    words = set()
    for node in ast.walk(test):
        if isinstance(node, ast.keyword) and node.arg in TOLERANCES:
            _raise(limits, TOLERANCES[node.arg], [x for x in _numbers(node.value) if x < 0.1])
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE):
            if re.search(r"\.std\b|sqrt|\*\* 0\.5", ast.unparse(node)):
                words.add("sampling error")
            else:
                _raise(limits, "difference", [x for x in _numbers(node.comparators[0]) if x < 0.1])
        elif isinstance(node, ast.Call):
            name, given = getattr(node.func, "attr", ""), {keyword.arg for keyword in node.keywords}
            if name in DEFAULTS and not given & set(TOLERANCES):
                words.add(DEFAULTS[name])
    numbers = [f"{kind} {value:.0e}".replace("e-0", "e-") for kind, value in sorted(limits.items())]
    return ", ".join([*numbers, *sorted(words)]) or "equal"


def _raise(limits: dict[str, float], kind: str, values: list[float]) -> None:
    if values:
        limits[kind] = max(*values, limits.get(kind, 0))


def _numbers(node: ast.AST) -> list[float]:
    found = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return [x for x in found if isinstance(x, float) and x > 0]


class _Source:
    """A test file: its functions, and what every name in it stands for."""

    def __init__(self, tree: ast.Module):
        self.top = tree.body
        self.functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        self.values = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in ast.walk(ast.Tuple(node.targets))
            if isinstance(target, ast.Name)
        }
        self.imports: dict[str, tuple[str, str]] = {}  # a local name -> module, name there
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.partition(".")[0]] = (alias.name, "")
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (node.module, alias.name)

    def reached(self, start: str) -> set[str]:
        """Return the names that a function uses, through helpers and fixtures of the file, too."""
        seen, todo = set(), [start]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                for part in filter(None, (self.functions.get(name), self.values.get(name))):
                    todo += [
                        n.id if isinstance(n, ast.Name) else n.arg
                        for n in ast.walk(part)
                        if isinstance(n, ast.Name | ast.arg)
                    ]
        return seen

    def used(self, start: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what a function uses of reprolib, and which other packages."""
        names = self.reached(start)
        found = [self.imports[name] for name in names if name in self.imports]
        ours = {f"{module}.{name}".partition(".")[2] for module, name in found if module.startswith("reprolib.")}
        asked = {module.partition(".")[0] for module, _ in found}
        asked |= {package for name in names & set(self.functions) for package in _skipped(self.functions[name])}
        asked |= {package for name in names & set(self.values) for package in _skipped(self.values[name])}
        others = {p for p in asked - GROUND if p == "fractions" or p not in sys.stdlib_module_names}
        return tuple(sorted(ours)), tuple(sorted(others))


def _skipped(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "importorskip":
            yield call.args[0].value.partition(".")[0]


def methods(root: Path | str = PACKAGE) -> dict[str, set[str]]:
    """Return the public methods of the package at `root` as ``module.name``, each with those that it calls itself."""
    root, found = Path(root), {}
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        if path.stem == "__init__" or f"reprolib.{module}.".startswith(tuple(f"{name}." for name in NO_METHODS)):
            continue
        source = _Source(ast.parse(path.read_text(encoding="utf-8")))
        for name, node in source.functions.items():
            if node in source.top and not name.startswith("_"):
                own = {f"{module}.{other}" for other in source.reached(name) & set(source.functions)}
                found[f"{module}.{name}"] = own | set(source.used(name)[0])
    return found


def without(tests: Iterable[Oracle], root: Path | str = ".") -> dict[str, str]:
    """Return the methods that none of the `tests` reaches, each with its reason, or nothing where none is given."""
    calls = methods()
    reached, todo = set(), [method for test in tests for method in test.methods]
    while todo:
        method = todo.pop()
        if method not in reached:
            reached.add(method)
            todo += calls.get(method, ())
    path = Path(root) / REASONS
    reasons = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = {f"{module}.{name}": why for module, names in (reasons or {}).items() for name, why in names.items()}
    return {method: known.get(method, "") for method in calls if method not in reached}
