"""Which chapters a reader of another one may want next."""

from pathlib import Path

from reprolib.book.scoreboard import Chapter, Executed, related


def chapter(slug, part, *modules):
    run = {"parts": {"chapter": "", **{f"reprolib.{name}": "" for name in modules}}}
    header = {"title": f"{slug.title()}: a title"}
    return Chapter(slug, part, Executed(Path(f"{slug}.ipynb"), header, run, [], None, None, ""), None)


def test_related_chapters_share_the_part_or_a_module_that_is_not_everywhere():
    here = chapter("here", "variance", "sweep", "models.vit", "data.images")
    same_part = chapter("same-part", "variance", "sweep")
    vit = chapter("vit", "inheritance", "sweep", "models.vit", "data.images")
    images = chapter("images", "generation", "sweep", "data.images")
    stranger = chapter("stranger", "sequences", "sweep")
    book = [stranger, images, vit, same_part, here, chapter("other", "adaptation", "sweep")]
    found = [(other.slug, why) for other, why in related(here, book)]
    assert found == [("same-part", "same part"), ("vit", "shares models.vit"), ("images", "shares data.images")]
    assert len(related(here, book, most=1)) == 1
    assert related(stranger, book) == []
