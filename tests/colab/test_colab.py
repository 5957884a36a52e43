"""A committed chapter runs alone on a fresh Colab runtime, and leaves Colab's torch and numpy as they are.

COLAB_CHAPTERS chooses: `families` (the quickest chapter for each set of extras, the default), `all`, or slugs
separated by commas. COLAB_IMAGE names a container image (Colab's own, in the weekly workflow); without it the
runtime is a new virtual environment with the packages of requirements.txt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
IMAGE = os.environ.get("COLAB_IMAGE", "")

pytestmark = pytest.mark.colab


def chapters(choice: str) -> dict[str, Path]:
    """Return {slug: notebook} of the committed small notebooks that `choice` names."""
    notebooks = {path.stem: path for path in sorted(ROOT.glob("book/notebooks/*/*.ipynb"))}
    if choice == "all":
        return notebooks
    if choice != "families":
        return {slug: notebooks[slug] for slug in choice.split(",")}
    metadata = {slug: json.loads(path.read_text())["metadata"] for slug, path in notebooks.items()}
    quickest_first = sorted(metadata, key=lambda slug: metadata[slug]["reprolib"]["seconds"])
    families = {extras(metadata[slug]): slug for slug in reversed(quickest_first)}
    return {slug: notebooks[slug] for slug in families.values()}


def extras(metadata) -> str:
    """Return the reprolib extras that a chapter needs, as in `[graphs,images]`; empty for none."""
    names = metadata["chapter"].get("extras", [])
    return f"[{','.join(sorted(names))}]" if names else ""


def verdicts(notebook) -> dict[str, str]:
    """Return {claim: verdict} of a notebook; a fragile verdict, which may change with versions, is `fragile`."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    claims = [c for out in outputs for c in out.get("metadata", {}).get("reprolib", {}).get("claims", [])]
    return {claim["id"]: "fragile" if claim["fragile"] else claim["verdict"] for claim in claims}


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without what makes reprolib or its data known."""
    hidden = ("REPROLIB", "BOOK_", "PYTHON", "VIRTUAL_ENV", "PIP_CONSTRAINT")
    return {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | extra


def call(*command: str | Path, **options) -> None:
    subprocess.run([str(part) for part in command], check=True, **options)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """reprolib of this checkout as a wheel, built from a copy so that no earlier build is mixed in."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory) -> Path:
    """A virtual environment with what Colab has: made once, copied for each chapter."""
    folder = tmp_path_factory.mktemp("runtime") / "env"
    call(sys.executable, "-m", "venv", folder)
    torch = next(line for line in (ROOT / "constraints.txt").read_text().split() if line.startswith("torch=="))
    pip = (folder / "bin/python", "-m", "pip", "install", "-q")
    call(*pip, torch, "-r", HERE / "requirements.txt", env=clean_environment())
    return folder


def run_in_environment(runtime: Path, wheel: Path, needed: str, notebook: Path, folder: Path) -> Path:
    # Hard links: pip replaces files instead of writing into them, so the first environment stays as it is.
    shutil.copytree(runtime, folder / "env", symlinks=True, copy_function=os.link)
    workdir = folder / "empty"
    workdir.mkdir()
    out = folder / "executed.ipynb"
    call(
        *(folder / "env/bin/python", HERE / "execute.py", notebook, out),
        cwd=workdir,
        env=clean_environment(REPROLIB_INSTALL=f"{wheel}{needed}"),
    )
    return out


def run_in_container(wheel: Path, needed: str, notebook: Path, folder: Path) -> Path:
    for source in (wheel, notebook, HERE / "execute.py"):
        shutil.copy(source, folder)
    call(
        *("docker", "run", "--rm", "--entrypoint", "python3", "--workdir", "/tmp", "--volume", f"{folder}:/colab"),
        *("--env", f"REPROLIB_INSTALL=/colab/{wheel.name}{needed}", IMAGE),
        *("/colab/execute.py", f"/colab/{notebook.name}", "/colab/executed.ipynb"),
    )
    return folder / "executed.ipynb"


@pytest.mark.parametrize("slug, notebook", chapters(os.environ.get("COLAB_CHAPTERS", "families")).items())
def test_chapter_runs_alone_to_its_verdicts(slug, notebook, wheel, request, tmp_path):
    committed = nbformat.read(notebook, as_version=4)
    needed = extras(committed.metadata)
    if IMAGE:
        path = run_in_container(wheel, needed, notebook, tmp_path)
    else:
        path = run_in_environment(request.getfixturevalue("runtime"), wheel, needed, notebook, tmp_path)
    executed = nbformat.read(path, as_version=4)

    assert executed.metadata["colab"]["after"] == executed.metadata["colab"]["before"]
    there, here = verdicts(executed), verdicts(committed)
    assert there.keys() == here.keys() and here, "the run does not reach the chapter's verdicts"
    firm = [id for id in here if "fragile" not in (here[id], there[id])]
    assert {id: there[id] for id in firm} == {id: here[id] for id in firm}
