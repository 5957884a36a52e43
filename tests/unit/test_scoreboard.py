"""Which chapters a reader of another one may want next, and how clearly a claim holds."""

from pathlib import Path

import pytest

from reprolib.book.scoreboard import Chapter, Executed, chapters, margin, related, rows

ROOT = Path(__file__).parents[2]


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


def criterion(needed, low, value, high, holds=True, statistic="whole interval", name="size"):
    numbers = {"low": low, "value": value, "high": high}
    return {"name": name, "statistic": statistic, "needed": f"{statistic} {needed}", "holds": holds, **numbers}


@pytest.mark.parametrize(
    "needed, numbers, room",
    [
        (">= 1", (2.0, 3.0, 4.0), 0.25),
        ("> 0", (-1.0, 1.0, 3.0), -1 / 3),
        ("<= 0.7 (of the mean)", (0.2, 0.3, 0.35), 0.5),
        ("< 1e-08", (0.0, 1e-9, 1e-8), 0.0),
        ("in [0.5, 1.5]", (0.75, 1.0, 1.1), 0.5),
        ("in (-2, 2)", (-3.0, 0.0, 1.0), -0.5),
        ("in [0, 1]", (0.5, 90.0, 99.0), -1.0),
        ("= 0", (0.0, 0.0, 0.0), 1.0),
        ("> -1", (4.0, 5.0, 6.0), 5 / 6),
        ("> -1", (0.5, 0.5, 0.5), 1.0),
    ],
)
def test_margin_is_the_distance_to_the_threshold_in_units_of_the_row(needed, numbers, room):
    assert margin({"criteria": [criterion(needed, *numbers)]})["room"] == pytest.approx(room)


def test_margin_takes_the_criterion_with_the_least_room_and_a_mean_by_its_value():
    wide = criterion("> 0", -1.0, 1.0, 3.0, statistic="mean", name="mean")
    tight = criterion(">= 1", 1.1, 2.0, 3.0, name="interval")
    found = margin({"criteria": [wide, tight]})
    assert found["name"] == "interval" and found["room"] == pytest.approx(0.1 / 3)
    assert margin({"criteria": [wide]})["room"] == pytest.approx(1 / 3)


def test_margin_needs_numbers():
    assert margin(None) is None
    assert margin({"criteria": [criterion("> 0", None, None, None)]}) is None


@pytest.mark.parametrize("chapter", chapters(ROOT), ids=lambda chapter: chapter.slug)
def test_the_sign_of_every_margin_is_the_verdict(chapter):
    for row in rows([chapter]):
        for scale in ("small", "full"):
            if row[scale]:
                assert (row[f"{scale} margin"]["room"] >= 0) == (row[scale] == "reproduced"), (row["id"], scale)
