"""Digests of content: what a notebook, and what a trial's result, depends on.

Everything is read from source text; nothing is imported or executed. A digest is therefore the same on every
machine, in every folder and at every time. The standard library is all that this module needs.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import json
import symtable
import sys
import textwrap
import tokenize
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]  # the reprolib that runs
NOT_SCIENCE = tuple(
    f"reprolib.{name}"
    for name in ("book", "checkpoint", "claims", "cli", "figures", "files", "record", "scale", "store", "sweep")
)


def parts(source: str, parameters: Mapping[str, object] | None = None, package: Path = PACKAGE) -> dict[str, str]:
    """Return name -> digest for everything that an executed chapter depends on.

    Args:
        source: the chapter's text.
        parameters: those that are not defaults.
        package: the folder of reprolib.

    Returns:
        ``chapter``, ``parameters`` (where there are any), and one entry for each reprolib module that the
        chapter imports, directly or not.
    """
    named = {"chapter": source} | ({"parameters": json.dumps(parameters, sort_keys=True)} if parameters else {})
    return {name: _hash(text) for name, text in (named | modules(source, package)).items()}


def combine(named: Mapping[str, str]) -> str:
    """Return one digest for all `parts`."""
    return _hash(json.dumps(named, sort_keys=True))


def modules(source: str, package: Path = PACKAGE, skip: tuple[str, ...] = ()) -> dict[str, str]:
    """Return name -> text of the reprolib modules that `source` imports, transitively, but for those in `skip`."""
    found: dict[str, str] = {}
    todo = list(imported(source, package))
    while todo:
        name = todo.pop()
        if name in found or any(name == s or name.startswith(s + ".") for s in skip):
            continue
        file = _file(name, package)
        found[name] = file.read_text(encoding="utf-8")
        todo += imported(found[name], package, name if file.name == "__init__.py" else name.rpartition(".")[0])
    return dict(sorted(found.items()))


def imported(source: str, package: Path = PACKAGE, parent: str = "") -> set[str]:
    """Return the reprolib modules that the import statements of `source` load, at any depth of nesting.

    Args:
        source: Python text.
        package: the folder of reprolib.
        parent: the package that a relative import starts from.
    """
    return {name for name in _named(source, parent) if _file(name, package)}  # a name may be no module


def science(trial: Callable, package: Path = PACKAGE) -> str:
    """Return the digest of the code that a trial's result depends on.

    It covers the trial, every function, class, constant and import at the top level of its notebook or file that
    it uses, directly or not, and the reprolib modules imported there, without figures, claims and the site.
    Comments, docstrings and blank lines do not count.

    Args:
        trial: a function with source, defined in a notebook or in a file.
        package: the folder of reprolib.
    """
    if "In" in trial.__globals__ and "__file__" not in trial.__globals__:  # IPython's list of executed cells
        source = "\n".join(filter(_parses, trial.__globals__["In"]))
    else:
        source = inspect.getsource(sys.modules[trial.__module__])
    return _science(textwrap.dedent(inspect.getsource(trial)), source, package)


def sciences(source: str, package: Path = PACKAGE) -> dict[str, str]:
    """Return trial name -> `science` digest for each ``sweep(trial, ...)`` in a chapter's text, without running it."""
    tree = ast.parse(source)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    names = {c.args[0].id for c in calls if ast.unparse(c.func).endswith("sweep") and isinstance(c.args[0], ast.Name)}
    found = {node.name: _text(node, source) for node in tree.body if getattr(node, "name", None) in names}
    return {name: _science(found[name], source, package) for name in sorted(found)}


@cache  # all chapters import the same modules
def _named(source: str, parent: str) -> frozenset[str]:
    """Every name below reprolib that import statements give, and what holds it: a.b.c loads a and a.b first."""
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parent.split(".")[: len(parent.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            wanted |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    wanted = {name for name in wanted if name.split(".")[0] == "reprolib"}
    return frozenset(".".join(name.split(".")[: i + 1]) for name in wanted for i in range(name.count(".") + 1))


@cache
def code(source: str) -> str:
    """Return `source` without comments, docstrings and blank lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            doc = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
            if doc and first.lineno > getattr(node, "lineno", 0):
                lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _science(trial: str, source: str, package: Path) -> str:
    statements = [(text, *_names(text)) for text in _statements(source)]
    chosen: dict[str, None] = {}
    needed, new = _names(trial)[1], True
    while new:  # every pass adds the statements that bind a name which is needed by now
        new = {t: used for t, bound, used in statements if t not in chosen and bound & needed}
        chosen |= dict.fromkeys(new)
        needed = needed.union(*new.values())
    texts = [code(trial), *sorted({code(text) for text in chosen} - {code(trial)})]
    science_modules = modules("\n".join(texts), package, skip=NOT_SCIENCE)
    science_modules.pop("reprolib", None)  # its version and exports are no science
    return _hash(json.dumps([texts, {name: code(text) for name, text in science_modules.items()}], sort_keys=True))


@cache
def _statements(source: str) -> list[str]:
    """The top-level statements of a module, with `import a, b` taken apart so that an unused b does not count."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found += [ast.unparse(ast.Import([alias])) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [ast.unparse(ast.ImportFrom(node.module, [alias], node.level)) for alias in node.names]
        else:
            found.append(_text(node, source))
    return found


def _text(node: ast.stmt, source: str) -> str:
    start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(source.splitlines()[start - 1 : node.end_lineno])


@cache
def _names(text: str) -> tuple[set[str], set[str]]:
    """Names that a piece of top-level code binds (or changes by item or attribute), and global names that it uses."""
    table = symtable.symtable(text, "<digest>", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            while isinstance(node, ast.Subscript | ast.Attribute):
                node = node.value
            bound |= {node.id} if isinstance(node, ast.Name) else set()
    return bound, _globals(table)


def _globals(table: symtable.SymbolTable) -> set[str]:
    here = {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return here.union(*(_globals(child) for child in table.get_children()))


def _file(name: str, package: Path) -> Path | None:
    path = package.joinpath(*name.split(".")[1:])
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def _parses(cell: str) -> bool:
    try:
        ast.parse(cell)
    except SyntaxError:
        return False
    return True


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
