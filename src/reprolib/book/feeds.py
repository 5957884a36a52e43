"""What the site offers to machines: results as JSON and CSV, citations, cards for shared links, a sitemap.

All of it is read from the executed notebooks, as the pages are. `RESULTS_VERSION` counts changes of `results.json`
that a reader of the file has to know; its schema is ``book/_static/results.schema.json``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image
from pybtex.database import BibliographyData, Entry

from reprolib.book.scoreboard import Chapter, Executed

RESULTS_VERSION = 1
CARD = (1200, 630)  # pixels, the size that Open Graph's readers show whole
COLUMNS = (
    "part", "slug", "paper", "arxiv", "claim", "kind", "statement", "scale", "verdict", "fragile", "pilot", "value",
    "low", "high", "n", "needed", "page",
)  # fmt: skip


def results(book: Iterable[Chapter], repository: str = "", outdated: Sequence[str] = ()) -> dict:
    """Return everything that the book found, as plain data: chapters, their runs, their claims.

    Args:
        book: the chapters.
        repository: the book's address, or nothing.
        outdated: slugs whose full run was recorded with other code than the chapter has now.
    """
    chapters = [
        {
            "slug": chapter.slug,
            "part": chapter.part,
            "title": chapter.title,
            "summary": chapter.header["summary"],
            "paper": dict(chapter.header.get("paper", {})),
            "page": f"{chapter.small.docname}.html",
            "needs": dict(chapter.header.get("full") or {}),
            "small": _run(chapter.small),
            "full": _run(chapter.full) | {"outdated": chapter.slug in outdated} if chapter.full else None,
        }
        for chapter in book
    ]
    return {"version": RESULTS_VERSION, "repository": repository, "chapters": chapters}


def _run(executed: Executed) -> dict:
    run = executed.run
    provenance = {key: run.get(key) for key in ("date", "commit", "cpu", "seconds", "peak_mb", "trials", "versions")}
    return {"notebook": executed.path.as_posix(), **provenance, "claims": executed.claims}


def table(book: Iterable[Chapter]) -> str:
    """Return the same as CSV: one row a claim and scale, with the claim's first criterion."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for chapter in book:
        paper = chapter.header.get("paper", {})
        about = {"part": chapter.part, "slug": chapter.slug, "paper": paper.get("title"), "arxiv": paper.get("arxiv")}
        for scale, run in (("small", chapter.small), ("full", chapter.full)):
            for claim in run.claims if run else ():
                found = {"claim": claim["id"], "n": claim["seeds"], "scale": scale, "page": f"{run.docname}.html"}
                writer.writerow(claim | about | found)
    return text.getvalue()


def citations(chapter: Chapter, papers: Mapping[str, Entry], address: str = "") -> str:
    """Return BibTeX for the paper (of `papers`, under the chapter's slug) and for its chapter here.

    Args:
        chapter: whose paper.
        papers: the entries of ``references.bib``.
        address: of the chapter's page, where the site's own is known.
    """
    found = {chapter.slug: papers[chapter.slug]} if chapter.slug in papers else {}
    fields = {
        "title": f"{{{chapter.title}}}: an executable reproduction",
        "author": "{The authors of Where Learning Starts}",
        "year": str(chapter.small.run.get("date", ""))[:4],
        "howpublished": "Where Learning Starts",
        "url": address,
    }
    found[f"{chapter.slug}-reproduced"] = Entry("misc", [(name, value) for name, value in fields.items() if value])
    return BibliographyData(found).to_string("bibtex").strip()


def reference(paper: Entry) -> str:
    """Return a paper in one line: who, when, what, where."""
    names = [" ".join(person.last_names) for person in paper.persons.get("author", ())]
    who = " and ".join(names) if len(names) < 3 else f"{names[0]} and others"
    fields = {key: re.sub(r"[{}]|\\\\", "", value).replace("--", "–") for key, value in paper.fields.items()}
    where = (
        fields.get("booktitle") or fields.get("journal") or fields.get("howpublished") or fields.get("publisher", "")
    )
    return ". ".join(filter(None, [f"{who} ({fields.get('year', '')})", fields.get("title"), where])) + "."


def card(picture: bytes) -> Image.Image:
    """Return a figure (PNG) on the card that a shared link shows."""
    figure = Image.open(io.BytesIO(picture)).convert("RGB")
    scale = min((CARD[0] - 80) / figure.width, (CARD[1] - 80) / figure.height)
    figure = figure.resize((round(figure.width * scale), round(figure.height * scale)), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", CARD, figure.getpixel((0, 0)))
    sheet.paste(figure, ((CARD[0] - figure.width) // 2, (CARD[1] - figure.height) // 2))
    return sheet.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def sitemap(address: str, pages: Iterable[str]) -> str:
    """Return a sitemap of the site at `address` (with its final slash)."""
    places = "\n".join(f"  <url><loc>{escape(address + page)}</loc></url>" for page in pages)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    return f"{head}\n{places}\n</urlset>\n"


def write(
    folder: Path, book: Sequence[Chapter], pages: Iterable[str], repository: str, address: str, outdated: Sequence[str]
) -> None:
    """Write the feeds into the site's folder; cards and sitemap only where the site's address is known."""
    text = json.dumps(results(book, repository, outdated), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "results.csv").write_text(table(book), encoding="utf-8")
    if not address:
        return
    (folder / "sitemap.xml").write_text(sitemap(address, pages), encoding="utf-8")
    cards = folder / "_images" / "cards"
    cards.mkdir(parents=True, exist_ok=True)
    for chapter in book:
        if chapter.small.thumbnail:
            card(chapter.small.thumbnail).save(cards / f"{chapter.slug}.png", optimize=True)
