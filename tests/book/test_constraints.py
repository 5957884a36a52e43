"""The pinned set can be installed wherever the book says it can."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.M))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def installed(name: str):
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def test_this_environment_has_the_pinned_versions():
    versions = {name: installed(name).version.split("+")[0] for name in PINS if installed(name)}
    wrong = {name: (versions[name], PINS[name]) for name in versions if versions[name] != PINS[name]}
    assert wrong == {}, "installed, pinned: run `make venv`"


def test_every_pin_installs_on_the_oldest_and_newest_python_that_is_supported():
    """soupsieve 4.1.3 wants Python 3.11.5: on Debian 12, with 3.11.2, pip then never came to an end."""
    required = {name: installed(name).metadata.get("Requires-Python") for name in PINS if installed(name)}
    floor = PROJECT["requires-python"].removeprefix(">=")
    refused = {
        name: spec
        for name, spec in required.items()
        if spec and not all(python in SpecifierSet(spec) for python in (floor, f"{floor}.2", "3.13.0"))
    }
    assert refused == {}


def test_pins_are_inside_the_wide_ranges_and_cover_them():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        if requirement.name != PROJECT["name"]:
            pinned = pins.get(canonicalize_name(requirement.name))
            assert pinned, f"{requirement.name} has no pin"
            assert requirement.specifier.contains(pinned), f"{requirement} excludes its own pin {pinned}"
