"""Pictures and a PDF of the built site, made by a browser: ``python -m reprolib.book.browse screenshots|pdf``."""

from __future__ import annotations

import argparse
import html
import io
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from reprolib.book import scoreboard

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
WIDTHS = (390, 820, 1440)  # pixels: a phone, a tablet, a desk
OPEN = """() => document.querySelectorAll("details").forEach(fold => (fold.open = true))"""
READY = """() => {
    const images = [...document.images].map(image => (image.loading = "eager", image.decode().catch(() => null)));
    return Promise.all([...images, window.MathJax?.startup?.promise]).then(() => true);
}"""


@contextmanager
def browser() -> Iterator:
    """Yield a headless browser.

    Raises:
        RuntimeError: none is installed.
    """
    from playwright.sync_api import sync_playwright  # the extra `test`

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise RuntimeError(f"no browser found: install one of {', '.join(BROWSERS)}.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield running
        running.close()


def pages(site: Path, root: Path) -> list[str]:
    """Return the site's pages in the order of ``_toc.yml``, without the API's and the full runs'."""
    toc = (root / "_toc.yml").read_text(encoding="utf-8")
    names = [re.search(r"^root: (\S+)", toc, re.M)[1], *re.findall(r"file: (\S+)", toc)]
    return [name for name in names if (site / f"{name}.html").is_file()]


def screenshots(site: Path, root: Path, out: Path) -> list[Path]:
    """Write pictures of the front page, the scoreboard and a chapter at three widths, light and dark."""
    chapter = scoreboard.chapters(root)[0].small.docname
    out.mkdir(parents=True, exist_ok=True)
    made = []
    with browser() as running:
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                page = running.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
                for name in ("book/index", "book/scoreboard", chapter):
                    page.goto((site / f"{name}.html").as_uri())
                    page.wait_for_function(READY)
                    made.append(out / f"{name.rpartition('/')[2]}-{width}-{scheme}.png")
                    page.screenshot(path=made[-1])
                page.close()
    return made


def pdf(site: Path, root: Path, out: Path) -> int:
    """Print the whole book into one file with a table of contents; returns its number of pages."""
    from pypdf import PdfReader, PdfWriter  # the extra `book`

    book, starts, number = PdfWriter(), [], 1
    with browser() as running:
        page = running.new_page(color_scheme="light")

        def printed() -> PdfReader:
            margin = {side: "16mm" for side in ("top", "right", "bottom", "left")}
            return PdfReader(io.BytesIO(page.pdf(format="A4", margin=margin, scale=0.75, print_background=True)))

        parts = []
        for name in tqdm(pages(site, root), unit="page", leave=False):
            page.goto((site / f"{name}.html").as_uri())
            page.evaluate(OPEN)
            page.wait_for_function(READY)
            parts.append((page.locator("article h1").first.evaluate("h => h.firstChild.textContent.trim()"), printed()))

        def contents(first: int) -> PdfReader:
            """The table of contents, where it leads from page `first` on."""
            place, rows = first, []
            for title, part in parts:
                rows.append(f"<tr><td>{html.escape(title)}</td><td style='text-align: right'>{place}</td></tr>")
                place += len(part.pages)
            table = f"<table style='width: 100%; line-height: 1.9'>{''.join(rows)}</table>"
            page.set_content(f"<body style='font-family: sans-serif'><h1>Where Learning Starts</h1>{table}</body>")
            return printed()

        front = contents(1)
        front = contents(1 + len(front.pages))  # its own length moves the rest
    for reader in (front, *(part for _, part in parts)):
        starts.append(number)
        number += len(reader.pages)
        book.append(reader, import_outline=False)
    for title, start in zip(("Contents", *(title for title, _ in parts)), starts, strict=True):
        book.add_outline_item(title=title, page_number=start - 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    book.write(out)
    return len(book.pages)


def main() -> int:
    """Make the pictures or the PDF from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reprolib.book.browse", description=__doc__)
    parser.add_argument("what", choices=("screenshots", "pdf"))
    parser.add_argument("--site", default="_build/html", help="the built site (default: %(default)s)")
    parser.add_argument("--root", default=".", help="the project's root (default: here)")
    parser.add_argument("--out", help="a folder for pictures, a file for the PDF (default: in _build)")
    arguments = parser.parse_args()
    site, root = Path(arguments.site).resolve(), Path(arguments.root)
    if not (site / "index.html").is_file():
        print(f"error: {arguments.site} holds no site: build it with `make site`.", file=sys.stderr)
        return 1
    try:
        if arguments.what == "pdf":
            out = Path(arguments.out or "_build/where-learning-starts.pdf")
            print(f"{out}: {pdf(site, root, out)} pages")
        else:
            made = screenshots(site, root, Path(arguments.out or "_build/screenshots"))
            print(f"{len(made)} pictures in {made[0].parent}")
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
