"""A chapter: its source, its header, its parameters and the notebooks that were executed from it."""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from reprolib.book import digest

SCALES = ("small", "full")
PARTS = (
    "variance", "sequences", "inheritance", "adaptation", "optimization", "generalization", "robustness", "generation",
)  # fmt: skip


class Mistake(ValueError):
    """Something the user asked for cannot be done; the message is one sentence with the fix."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``name: type = default  # comment``."""

    name: str
    type: str
    default: Any
    comment: str


@dataclass(frozen=True)
class Executed:
    """What an executed notebook says about its run: provenance and the claims' rows as in DESIGN.md."""

    path: Path
    meta: dict[str, Any]
    claims: list[dict[str, Any]]


@dataclass(frozen=True)
class Freshness:
    """``fresh``, ``stale`` or ``missing``, and for stale the reason."""

    state: str
    why: str = ""


@dataclass(frozen=True)
class Chapter:
    """The chapter in ``<root>/chapters/<part>/<slug>.py``."""

    path: Path
    root: Path

    @property
    def slug(self) -> str:
        return self.path.stem

    @property
    def part(self) -> str:
        return self.path.parent.name

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def notebook(self) -> nbformat.NotebookNode:
        """The chapter as a notebook without outputs. Raises Mistake where the source is no Python or no chapter."""
        try:
            ast.parse(self.source)
            return jupytext.reads(self.source, fmt="py:percent")
        except Exception as error:  # yaml's and jupytext's errors share no base class
            raise Mistake(f"chapters/{self.part}/{self.slug}.py cannot be read as a chapter: {error}") from error

    @property
    def header(self) -> dict[str, Any]:
        """The ``chapter:`` block of the header: slug, title, summary, paper, part, full. Empty where there is none."""
        return self.notebook.metadata.get("chapter") or {}

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters by name. Raises Mistake where there is no parameters cell or a default is no literal."""
        cells = [c for c in self.notebook.cells if "parameters" in c.metadata.get("tags", [])]
        if not cells:
            raise Mistake(
                f"chapter {self.slug} has no parameters cell: "
                'add one with `# %% tags=["parameters"]` after the setup cell.'
            )
        tokens = tokenize.generate_tokens(io.StringIO(cells[0].source).readline)
        comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
        found = {}
        for node in ast.parse(cells[0].source).body:
            target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
            if not isinstance(target, ast.Name) or node.value is None:
                continue
            try:
                default = ast.literal_eval(node.value)
            except ValueError as error:
                raise Mistake(f"chapter {self.slug}: parameter {target.id} needs a literal as default.") from error
            kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
            found[target.id] = Parameter(target.id, kind, default, comments.get(node.end_lineno, ""))
        return found

    def not_default(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return those `parameters` that differ from their defaults. Raises Mistake for one that the chapter lacks."""
        known = self.parameters
        for name in parameters:
            if name not in known:
                names = ", ".join(known)
                raise Mistake(f"chapter {self.slug} has no parameter {name!r}: its parameters are {names}.")
        return {k: v for k, v in parameters.items() if v != known[k].default}

    def target(self, scale: str = "small") -> Path:
        """Return where the notebook with default parameters lives, whether it exists or not."""
        return self.root / "book" / {"small": "notebooks", "full": "full"}[scale] / self.part / f"{self.slug}.ipynb"

    def parts(self, scale: str = "small", parameters: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Return the digests of all that a notebook at this scale, with these parameters, depends on."""
        changed = {k: v for k, v in (parameters or {}).items() if k != "scale"}
        return digest.parts(self.source, changed | ({"scale": scale} if scale != "small" else {}))

    def executed(self, scale: str = "small", path: Path | None = None) -> Executed | None:
        """Return what the executed notebook says, or None where there is none (or none that can be read)."""
        path = path or self.target(scale)
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
            tables = [o.get("metadata", {}).get("reprolib", {}).get("claims", []) for o in outputs]
            return Executed(path, notebook["metadata"]["reprolib"], [row for table in tables for row in table])
        except (FileNotFoundError, KeyError, ValueError):
            return None

    def freshness(
        self, scale: str = "small", parameters: Mapping[str, Any] | None = None, path: Path | None = None
    ) -> Freshness:
        """Compare an executed notebook with what it would be made of now."""
        done = self.executed(scale, path)
        if done is None:
            return Freshness("missing")
        now, then = self.parts(scale, parameters), done.meta.get("parts", {})
        if done.meta.get("digest") == digest.combine(now):
            return Freshness("fresh")
        changed = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
        why = ", ".join("source" if name == "chapter" else name for name in changed) or "digest"
        science = digest.sciences(self.source) if scale == "full" else {}
        if science and science == done.meta.get("science"):
            return Freshness("stale", f"{why} changed, the trials' code did not")
        return Freshness("stale", f"{why} changed")


def project_root(start: Path | None = None) -> Path:
    """Return the book's folder: ``$REPROLIB_ROOT``, or the nearest folder upwards with ``chapters`` and ``book``.

    Raises:
        Mistake: there is no such folder.
    """
    named = os.environ.get("REPROLIB_ROOT")
    start = Path(named or start or Path.cwd()).resolve()
    for folder in [start] if named else [start, *start.parents]:
        if (folder / "chapters").is_dir() and (folder / "book").is_dir():
            return folder
    where = "REPROLIB_ROOT names no folder of the book" if named else "this is not the book's folder"
    raise Mistake(f"{where}: go to the clone that holds chapters/ and book/, or set REPROLIB_ROOT to it.")


def chapters(root: Path | None = None, slugs: Sequence[str] = ()) -> list[Chapter]:
    """Return the chapters named by `slugs`, or all of them in the book's order (parts, then slugs).

    Raises:
        Mistake: outside the book's folder, or no chapter has such a slug; the nearest names are offered.
    """
    root = root or project_root()
    found = [Chapter(path, root) for path in sorted((root / "chapters").glob("*/*.py"))]
    found.sort(key=lambda c: PARTS.index(c.part) if c.part in PARTS else len(PARTS))
    if not slugs:
        return found
    by_slug = {chapter.slug: chapter for chapter in found}
    for slug in slugs:
        if slug not in by_slug:
            near = difflib.get_close_matches(slug, by_slug, n=3, cutoff=0.4)
            known = f"the chapters are {', '.join(by_slug) or 'none yet'}."
            raise Mistake(f"no chapter {slug!r}: " + (f"did you mean {' or '.join(near)}?" if near else known))
    return [by_slug[slug] for slug in dict.fromkeys(slugs)]
