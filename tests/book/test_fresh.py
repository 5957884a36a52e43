"""The committed notebooks are those that the committed sources make."""

from pathlib import Path

import pytest

from reprolib.book.chapter import chapters, project_root

ROOT = project_root(Path(__file__).parent)
CHAPTERS = chapters(ROOT)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.slug)
def test_the_small_notebook_is_fresh(chapter):
    freshness = chapter.freshness("small")
    assert freshness.state == "fresh", f"{freshness.why}: `reprolib run {chapter.slug}`"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.slug)
def test_the_notebook_was_made_with_default_parameters_and_has_a_verdict_for_each_claim(chapter):
    for scale in ("small", "full"):
        done = chapter.executed(scale)
        if done is None:
            assert scale == "full"  # recorded only where it was really run
            continue
        changed = {"scale": "full"} if scale == "full" else {}
        assert (done.meta["slug"], done.meta["scale"], done.meta["parameters"]) == (chapter.slug, scale, changed)
        assert len(done.claims) >= 4 and all(row["verdict"] for row in done.claims)


def test_no_notebook_is_left_of_a_chapter_that_is_gone():
    expected = {chapter.target(scale) for chapter in CHAPTERS for scale in ("small", "full")}
    found = {path for folder in ("notebooks", "full") for path in (ROOT / "book" / folder).rglob("*.ipynb")}
    assert found - expected == set()
