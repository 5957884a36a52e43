"""The table of contents lists the chapters, and the bibliography knows what they cite."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from reprolib.book.chapter import chapters, project_root

ROOT = project_root(Path(__file__).parent)
CHAPTERS = chapters(ROOT)
ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf|html)/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", re.IGNORECASE)
DOI = re.compile(r"doi\.org/(10\.\d{4,9}/[^\s\"'>\]]+[^\s\"'>\].,;:])", re.IGNORECASE)


def cited(text: str) -> set[str]:
    """The arXiv numbers and DOIs that a text links to."""
    dois = (doi.lower() if doi.count("(") == doi.count(")") else doi.lower().rstrip(")") for doi in DOI.findall(text))
    return {number.lower() for number in ARXIV.findall(text)} | set(dois)


def entries() -> dict[str, str]:
    """The bibliography: key -> text of the entry."""
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    return {key: body.lower() for key, body in re.findall(r"^@\w+\{([^,\s]+),(.*?)^\}", text, re.M | re.S)}


def files(node) -> list[str]:
    """Every page that a table of contents names, in order."""
    if isinstance(node, list):
        return [name for item in node for name in files(item)]
    if isinstance(node, dict):
        return [node["file"], *files([*node.values()])] if "file" in node else files([*node.values()])
    return []


def test_the_table_of_contents_lists_every_chapter_once_in_the_order_of_the_parts():
    listed = files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    listed = [name for name in listed if name.startswith("book/notebooks/")]
    expected = [chapter.target().relative_to(ROOT).with_suffix("").as_posix() for chapter in CHAPTERS]
    assert sorted(listed) == sorted(expected)
    parts = [Path(name).parent.name for name in listed]
    assert parts == [chapter.part for chapter in CHAPTERS]


def test_every_part_has_its_story_and_a_part_of_three_chapters_its_comparison():
    listed = files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    parts = Counter(chapter.part for chapter in CHAPTERS)
    assert {Path(name).name for name in listed if name.startswith("book/parts/")} == set(parts)
    assert {Path(name).name for name in listed if name.startswith("book/compared/")} == {
        part for part, chapters in parts.items() if chapters >= 3
    }


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.slug)
def test_every_paper_that_a_chapter_links_is_in_the_bibliography(chapter):
    known = entries()
    assert chapter.slug in known, f"book/references.bib has no entry {chapter.slug!r} for the chapter's own paper"
    missing = {number for number in cited(chapter.source) if not any(number in body for body in known.values())}
    assert missing == set()


def test_the_bibliography_names_every_entry_once():
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{([^,\s]+),", text, re.M)
    assert sorted(keys) == sorted(set(keys)) == sorted(entries())


def test_links_are_read_as_they_are_written():
    text = "[A](https://arxiv.org/abs/2312.02622v2), (https://doi.org/10.1137/S0097(95)1-X). https://doi.org/10.1000/ab.c)."
    assert cited(text) == {"2312.02622", "10.1137/s0097(95)1-x", "10.1000/ab.c"}
