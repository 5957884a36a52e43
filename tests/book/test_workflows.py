"""GitHub's workflows are valid and do what the local commands do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def commands(workflow: Path) -> str:
    """Return every shell line of a workflow."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return "\n".join(step.get("run", "") for job in jobs for step in job["steps"])


def test_the_four_workflows_are_there():
    assert [path.stem for path in WORKFLOWS] == ["ci", "full", "pages", "weekly"]


def test_workflows_match_githubs_schema():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    result = subprocess.run([*check, *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_make_targets_that_a_workflow_calls_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"^make ([a-z]+)", commands(path), flags=re.M)) <= targets


def test_ci_runs_the_script_that_developers_run():
    assert "bash .ci/run" in commands(ROOT / ".github/workflows/ci.yml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_input_is_pasted_into_a_shell_line(path):
    """`${{ inputs.x }}` inside a script would let whoever starts the workflow run commands of their own."""
    assert "${{" not in commands(path)
