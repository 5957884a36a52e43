"""Every chapter keeps the contract of the book."""

import warnings
from pathlib import Path

import pytest

from reprolib.book.chapter import chapters, project_root
from reprolib.book.contract import breaches

CHAPTERS = chapters(project_root(Path(__file__).parent))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.slug)
def test_the_chapter_keeps_the_contract(chapter):
    found = breaches(chapter)
    for breach in found:
        if breach.warning:
            warnings.warn(f"{chapter.slug}: {breach.text}", stacklevel=1)
    assert [breach.text for breach in found if not breach.warning] == []


def test_no_two_chapters_share_a_slug():
    slugs = [chapter.slug for chapter in CHAPTERS]
    assert sorted(slugs) == sorted(set(slugs))
