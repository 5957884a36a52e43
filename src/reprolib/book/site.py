"""From committed notebooks to the site: ``python -m reprolib.book.site``.

The book is staged first: a copy of `book/`, `_config.yml` and `_toc.yml` under `_build/source`, in which every
chapter's setup cell names the commit that it belongs to (where the repository's address is known). The site is
built from that copy, and the pages workflow publishes its notebooks, so a reader's download, the file that Colab
opens and reprolib always match. The working tree is never written to.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

from reprolib.book import digest
from reprolib.book.chapter import chapters
from reprolib.book.scoreboard import FULL, SMALL

API = "book/api"  # pages that the build writes itself, one a module
STAGED = ("book", "_config.yml", "_toc.yml", "chapters", "tests/oracle")  # the last two: pages tell of their code
DEFAULT = 'os.environ.get("REPROLIB_INSTALL", "")'  # the setup cell as a chapter's author has it
GITHUB = re.compile(r"(?:https?://|ssh://git@|git@)(?:[^@/]*@)?github\.com[:/]([\w.-]+)/([\w.-]+?)(?:\.git)?/?")


def repository(root: Path | str = ".", environ: Mapping[str, str] | None = None) -> str | None:
    """Return the book's address, ``https://github.com/OWNER/NAME``, or None where it has none.

    Looks at ``BOOK_REPOSITORY`` (empty: explicitly none), at ``GITHUB_REPOSITORY`` as GitHub Actions sets it,
    then at the git remotes of `root`.

    Raises:
        ValueError: ``BOOK_REPOSITORY`` is no address of a repository on GitHub.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("BOOK_REPOSITORY")
    if named is not None:
        if named and not GITHUB.fullmatch(named):
            raise ValueError(f"BOOK_REPOSITORY must look like https://github.com/OWNER/NAME, got {named!r}.")
        candidates = [named]
    elif "GITHUB_REPOSITORY" in environ:
        candidates = [f"https://github.com/{environ['GITHUB_REPOSITORY']}"]
    else:
        remotes = [line.split() for line in _git(root, "remote", "-v").splitlines()]
        candidates = [url for name, url, *_ in sorted(remotes, key=lambda remote: remote[0] != "origin")]
    for match in filter(None, map(GITHUB.fullmatch, candidates)):
        return "https://github.com/{}/{}".format(*match.groups())
    return None


def address(repository: str) -> str:
    """Return where the site is published, with a slash at its end: ``BOOK_URL``, or GitHub's page of the repository."""
    owner, name = repository.removeprefix("https://github.com/").split("/")
    return (os.environ.get("BOOK_URL") or f"https://{owner.lower()}.github.io/{name}").rstrip("/") + "/"


def branch() -> str:
    """Return the branch that holds the stamped notebooks, which launch links point to."""
    return os.environ.get("BOOK_BRANCH") or "published"


def commit(root: Path | str = ".") -> str:
    """Return the full hash of the commit that is checked out at `root`.

    Raises:
        ValueError: `root` is in no git repository, or has no commit yet.
    """
    found = _git(root, "rev-parse", "--verify", "HEAD").strip()
    if not found:
        raise ValueError("the repository's address is known, but no commit: build in a git checkout of the book.")
    return found


def _git(root: Path | str, *arguments: str) -> str:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True).stdout
    except FileNotFoundError:  # no git on this machine: the same as no repository
        return ""


def stamp(notebook: str, address: str, hash: str) -> str:
    """Return `notebook` (JSON text) with an install line that fetches reprolib at commit `hash` of `address`.

    Extras come from the list ``extras`` in the chapter's header.

    Raises:
        ValueError: the notebook has no setup cell with the default install line.
    """
    content = json.loads(notebook)
    extras = ",".join(content["metadata"].get("chapter", {}).get("extras", ()))
    # Without spaces pip's magic passes the requirement on as one word.
    requirement = f"reprolib{f'[{extras}]' if extras else ''}@git+{address}@{hash}"
    for cell in content["cells"]:
        if "setup" in cell["metadata"].get("tags", ()):
            source = "".join(cell["source"])
            if DEFAULT in source:
                source = source.replace(DEFAULT, DEFAULT.replace('""', f'"{requirement}"'))
                cell["source"] = source.splitlines(keepends=True)
                return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    raise ValueError(f"no cell tagged setup holds {DEFAULT}, so the notebook cannot be stamped.")


def stage(root: Path, target: Path, address: str | None = None) -> None:
    """Make `target` the staged copy of the book at `root`; files that did not change keep their time.

    Raises:
        ValueError: a notebook cannot be stamped; the message names it.
    """
    hash = commit(root) if address else ""
    files = [path for name in STAGED for path in (root / name, *(root / name).rglob("*")) if path.is_file()]
    left_out = {".ipynb_checkpoints", "__pycache__"}
    wanted = {path.relative_to(root): path for path in files if not left_out & set(path.parts)}
    wanted = {name: path for name, path in wanted.items() if not name.is_relative_to(API)}
    for path in [path for path in target.rglob("*") if path.is_file()]:
        name = path.relative_to(target)
        if name not in wanted and not name.is_relative_to(API):
            path.unlink()
    for name, source in wanted.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if address and name.suffix == ".ipynb" and name.as_posix().startswith((f"{SMALL}/", f"{FULL}/")):
            try:
                text = stamp(source.read_text(encoding="utf-8"), address, hash)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            if not copy.is_file() or copy.read_text(encoding="utf-8") != text:
                copy.write_text(text, encoding="utf-8")
        elif not copy.is_file() or not filecmp.cmp(source, copy, shallow=False):
            shutil.copyfile(source, copy)


def outdated(root: Path | str = ".") -> list[str]:
    """Return the slugs whose full run was recorded with other code of its trials than the chapter has now."""
    found = []
    for chapter in chapters(Path(root)):
        full = chapter.executed("full")
        if full and full.meta.get("science", {}) != digest.sciences(chapter.source):
            found.append(chapter.slug)
    return found


def build(out: Path | str = "_build/html", root: Path | str = ".", quiet: bool = False) -> Path:
    """Stage the book at `root` and build its site into `out`; every warning of the build is an error.

    Args:
        out: folder of the site; the staged copy and Sphinx's caches go beside it.
        root: the project's root.
        quiet: print warnings only.

    Returns:
        The site's first page.

    Raises:
        RuntimeError: the build failed or warned; the warnings are on standard error.
        ValueError: the repository's address or a notebook is not as it should be.
    """
    from jupyter_book.sphinx import build_sphinx

    # sphinx-external-toc looks at every object there is, torch's deprecated ones included
    warnings.filterwarnings("ignore", message="`torch.distributed.reduce_op`", category=FutureWarning)
    root, out = Path(root).resolve(), Path(out).resolve()
    address, source = repository(root), out.parent / "source"
    stage(root, source, address)
    status = build_sphinx(
        source,
        out,
        path_config=source / "_config.yml",
        noconfig=True,
        confoverrides={
            "external_toc_path": (source / "_toc.yml").as_posix(),
            "latex_individualpages": False,
            "nitpicky": True,
            "reprolib_repository": address or "",
            "reprolib_outdated": outdated(root),
        },
        warningiserror=True,
        keep_going=True,
        quiet=quiet,
    )
    if status != 0:
        raise RuntimeError(f"the site was not built cleanly ({status}); the warnings are above.")
    return out / "index.html"


def main() -> int:
    """Build the site from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reprolib.book.site", description=build.__doc__.splitlines()[0])
    parser.add_argument("--out", default="_build/html", help="folder of the site (default: %(default)s)")
    parser.add_argument("--root", default=".", help="the project's root (default: here)")
    parser.add_argument("--quiet", action="store_true", help="print warnings only")
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        page = build(**vars(arguments))
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The site is ready after {time.perf_counter() - started:.0f} s: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
