"""What the README says about the book is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reprolib.book import scoreboard

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_verdict_table_is_what_the_notebooks_say():
    readme = (ROOT / "README.md").read_text()
    table = re.search(r"<!-- verdicts -->\n(.*?)<!-- /verdicts -->", readme, flags=re.S)
    assert table, "README.md has lost the markers of its verdict table"
    expected = scoreboard.markdown(scoreboard.chapters(ROOT))
    assert table[1].strip() == expected.strip(), "run `make readme`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_links_to_exist(page):
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", page.read_text()) if "://" not in t]
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_a_page_names_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"(?:^|`|&& )make ([a-z]+)", text, flags=re.M)) <= targets
    notebooks = re.findall(r"book/notebooks/[\w/-]+\.ipynb", text)
    assert [path for path in notebooks if not (ROOT / path).exists()] == []
