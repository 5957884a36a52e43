"""The Sphinx extension of the book: what pages show that no author types.

Banner, gallery, totals and scoreboard come from `reprolib.book.scoreboard`, as do the tables of full runs; their
HTML is in ``book/_templates``. Figures get their size, alt text and caption. MathJax comes with the site. What
machines read is in `reprolib.book.feeds`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import pkgutil
import posixpath
import re
from html import escape as html_escape
from pathlib import Path
from urllib.parse import quote

import jinja2
from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin
from PIL import Image
from pybtex.database import parse_file
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective
from sphinx.util.fileutil import copy_asset
from sphinx_external_toc.api import Document, FileItem, TocTree

import reprolib
from reprolib import claims
from reprolib.book import feeds, oracles, scoreboard, seeds, site
from reprolib.book.contract import MENTION

TEMPLATES = "book/_templates"
BIBLIOGRAPHY = "book/references.bib"
MATHJAX = ("tex-chtml.js", "a11y", "input", "output", "sre", "ui")  # what TeX pages load, at once or on demand
NOT_OURS = ("set_fit_request", "set_predict_request", "set_score_request")  # scikit-learn gives them to its estimators
THUMBNAIL_WIDTH = 560  # pixels: sharp at the gallery's 280


# --- Figures -----------------------------------------------------------------------------------------------


class SizedImage(nodes.image):
    """An image whose size stands in attributes: the browser keeps its place free at any page width."""


def visit_sized_image(self, node: SizedImage) -> None:
    uri = posixpath.join(self.builder.imgpath, quote(self.builder.images[node["uri"]]))
    size = {"width": node["width"], "height": node["height"]}
    how = {"decoding": "async", "loading": "lazy"}  # what a mode hides is not loaded
    self.body.append(self.emptytag(node, "img", "\n", src=uri, alt=node["alt"], **how, **size))


def depart_sized_image(self, node: SizedImage) -> None:
    pass


class FigureRenderer(MimeRenderPlugin):
    """Render what `reprolib.figures.show` displays as one figure: image for each mode, size, alt text, caption."""

    @staticmethod
    def handle_mime(renderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """Return a figure for our images, nothing for the caption that stands beside them, None for the rest."""
        ours = data.output_metadata.get("reprolib", {})
        if ours.get("role") == "caption":
            return []
        if data.mime_type != "image/png" or "caption" not in ours:
            return None
        alt, width, height = (str(data.output_metadata["image/png"][key]) for key in ("alt", "width", "height"))

        def picture(png: str, *classes: str) -> SizedImage:
            [image] = renderer.render_image(dataclasses.replace(data, content=png))
            return SizedImage(uri=image["uri"], alt=alt, width=width, height=height, classes=list(classes))

        modes = {"when-light": data.content, "when-dark": ours["dark"]} if "dark" in ours else {"": data.content}
        words = MimeData("text/markdown", ours["caption"], cell_metadata=data.cell_metadata, line=data.line)
        caption = nodes.caption("", "", *renderer.render_markdown_inline(words))
        return [nodes.figure("", *(picture(png, *mode.split()) for mode, png in modes.items()), caption)]


# --- Generated pieces --------------------------------------------------------------------------------------


def html(app: Sphinx, template: str, docname: str, **values) -> nodes.raw:
    """Render a template of the book for the page `docname`; links are relative, so the site works from files."""
    loader = jinja2.FileSystemLoader(Path(app.srcdir) / TEMPLATES)
    env = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {"mark": scoreboard.VERDICTS.__getitem__, "duration": duration}
    env.globals |= {
        "to": lambda target: app.builder.get_relative_uri(docname, target),
        "file": lambda path: "../" * docname.count("/") + path,
        "launch": lambda target: launch(app.config, target),
        "outdated": app.config.reprolib_outdated,
        "parts": scoreboard.PARTS,
        "verdicts": scoreboard.VERDICTS,
    }
    return nodes.raw("", env.get_template(template).render(**values), format="html")


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def launch(config: Config, docname: str) -> dict[str, str]:
    """Return service -> the address that opens a notebook there; none where the repository's is not known."""
    if not config.reprolib_repository:
        return {}
    repository, branch = config.reprolib_repository.removeprefix("https://github.com/"), site.branch()
    return {
        "Colab": f"https://colab.research.google.com/github/{repository}/blob/{branch}/{docname}.ipynb",
        "Binder": f"https://mybinder.org/v2/gh/{repository}/{branch}?labpath={quote(docname, safe='')}.ipynb",
    }


class Generated(SphinxDirective):
    """A directive whose content is a template over all chapters; its page is read anew in every build."""

    template = ""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        return [self.html()]

    def html(self, template: str = "", **values) -> nodes.raw:
        book = self.env.app.reprolib_book
        values = {"book": book, "rows": scoreboard.rows(book), **values}
        return html(self.env.app, template or self.template, self.env.docname, **values)


class Totals(Generated):
    """How many papers, claims, verdicts and full runs the book holds today."""

    template = "totals.html"

    def html(self) -> nodes.raw:
        book = self.env.app.reprolib_book
        tally = scoreboard.tally(row["small"] for row in scoreboard.rows(book))
        seconds = sum(chapter.small.run.get("seconds") or 0 for chapter in book)
        return super().html(tally=tally, seconds=seconds)


class Scoreboard(Generated):
    """One row a claim; a plain table until its script makes it sort, filter and search."""

    template = "scoreboard.html"


class Gallery(Generated):
    """A section a part, a card a chapter."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        sections = []
        for part, title in scoreboard.PARTS.items():
            cards = [chapter for chapter in self.env.app.reprolib_book if chapter.part == part]
            if cards:
                section = nodes.section("", nodes.title("", title), ids=[f"part-{part}"], names=[f"part-{part}"])
                self.state.document.note_explicit_target(section)
                story = f"book/parts/{part}"
                section += self.html("gallery.html", cards=cards, story=story if story in self.env.found_docs else "")
                sections.append(section)
        return sections or [nodes.paragraph("", "No chapter has been executed yet.")]


class OfPart(Generated):
    """A piece about the part that the argument names."""

    required_arguments = 1

    def chapters(self) -> list[tuple[scoreboard.Chapter, list[dict]]]:
        """Return the part's chapters, each with its claims."""
        found = [chapter for chapter in self.env.app.reprolib_book if chapter.part == self.arguments[0]]
        return [(chapter, scoreboard.rows([chapter])) for chapter in found]


class Part(OfPart):
    """A map of the claims, how clearly each of them holds, and a card a chapter."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        cards = self.chapters()
        most = max((len(rows) for _, rows in cards), default=0)
        pieces = [self.html("part.html", cards=cards, most=most), self.html("margins.html", cards=cards)]
        return [*pieces, self.html("gallery.html", cards=[chapter for chapter, _ in cards])]


class Compared(OfPart):
    """The chapters side by side."""

    def html(self) -> nodes.raw:
        cards, against = self.chapters(), {}
        for test in oracles.oracles(self.env.srcdir):
            against.setdefault(test.slug, set()).update(test.against)
        return super().html(
            "compared.html", cards=cards, rows=[row for _, rows in cards for row in rows], against=against
        )


class Oracles(Generated):
    """Every test against an independent implementation, by chapter; and the methods that have none."""

    def html(self) -> nodes.raw:
        root, app = self.env.srcdir, self.env.app
        tests, repository = oracles.oracles(root), app.config.reprolib_repository
        found = [(chapter, [test for test in tests if test.slug == chapter.slug]) for chapter in app.reprolib_book]
        source = f"{repository}/blob/{site.branch()}" if repository else ""
        return super().html("oracles.html", oracles=found, without=oracles.without(tests, root), source=source)


class Seeds(Generated):
    """How often a verdict changes at other base seeds."""

    def html(self) -> nodes.raw:
        root, book = Path(self.env.srcdir), self.env.app.reprolib_book
        entries = seeds.entries(root, book)
        rows = [row for _, entry in entries for row in entry["rows"]]
        total = sum(word is not None for _, _, words, _ in rows for word in words)
        done = {chapter.slug for chapter, _ in entries}
        missing = [chapter for chapter in book if chapter.slug not in done]
        changed = sum(changes for *_, changes in rows)
        return super().html("seeds.html", entries=entries, total=total, changed=changed, missing=missing)


def adapt_chapter(app: Sphinx, doctree: nodes.document) -> None:
    """Put the banner and the record of the full run into a chapter's page; link the numbers in its text."""
    docname = app.env.docname
    for chapter in app.reprolib_book:
        if docname == chapter.small.docname:
            executed, title = chapter.small, None
        elif chapter.full and docname == chapter.full.docname:
            executed, title = chapter.full, f"{chapter.title}: full run"
        else:
            continue
        for cell in list(doctree.findall(nodes.container)):
            if "tag_injected-parameters" in cell["classes"]:  # papermill's copy of the cell above it
                cell.parent.remove(cell)
            if "tag_solution" in cell["classes"]:
                cell["prompt_show"], cell["prompt_hide"] = "Show the solution", "Hide the solution"
        refer(doctree)
        for aside in list(doctree.findall(nodes.block_quote)):  # Colab sets it off, this theme has a margin
            aside.replace_self(nodes.container("", *aside.children, classes=["margin"]))
        [heading] = list(doctree.findall(nodes.title))[:1]
        if title:
            heading.children, heading.rawsource = [nodes.Text(title)], title
        cite = feeds.citations(chapter, app.reprolib_papers, address(app.config, docname)) if not title else ""
        related = scoreboard.related(chapter, app.reprolib_book)
        values = {"chapter": chapter, "executed": executed, "cite": cite, "related": related}
        heading.parent.insert(1, html(app, "banner.html", docname, **values))
        if not title:
            app.env.note_dependency(str(Path(app.srcdir) / BIBLIOGRAPHY))
            if chapter.full:
                app.env.note_dependency(str(Path(app.srcdir) / chapter.full.path))
            for section in doctree.findall(nodes.section):
                if section[0].astext() == "At full scale":
                    table = claims.verdict_table(chapter.full.claims) if chapter.full else ""
                    found = scoreboard.rows([chapter])
                    section.append(html(app, "full.html", docname, chapter=chapter, table=table, found=found))


def refer(doctree: nodes.document) -> None:
    """Make the numbers of equations and figures, which a chapter's text gives, places that its prose links to."""
    places: set[str] = set()
    for equation in doctree.findall(nodes.math_block):
        if tag := re.search(r"\s*\\tag\{(\d+)\}", equation.astext()):
            equation["ids"], equation["number"] = [f"equation-{tag[1]}"], tag[1]
            equation[:] = [nodes.Text(equation.astext().replace(tag[0], ""))]
            places.update(equation["ids"])
    for figure in doctree.findall(nodes.figure):
        first = next(iter(figure[-1].findall(nodes.Text)))
        if label := re.match(r"Figure (\d+)\. ", first):
            figure["ids"] = [f"figure-{label[1]}"]
            first.parent.replace(first, nodes.Text(first[label.end() :]))
            link = nodes.reference("", label[0].strip(), refuri=f"#figure-{label[1]}", classes=["figure-number"])
            figure[-1].insert(0, [link, nodes.Text(" ")])
            places.update(figure["ids"])
    for paragraph in doctree.findall(nodes.paragraph):
        for text in [child for child in paragraph.children if isinstance(child, nodes.Text)]:
            pieces = [nodes.Text(piece) for piece in MENTION.split(text)]
            for i, piece in enumerate(pieces):
                if MENTION.fullmatch(piece) and (place := re.sub(r"\W+", "-", piece.lower()).strip("-")) in places:
                    pieces[i] = nodes.reference("", piece, refuri=f"#{place}", classes=["mention"])
            paragraph.replace(text, pieces)


def preview_papers(app: Sphinx, doctree: nodes.document) -> None:
    """Give links to papers of the bibliography the reference as a title; a script shows it beside the link."""
    for link in doctree.findall(nodes.reference):
        id = re.search(r"(?:arxiv\.org/(?:abs|pdf|html)|doi\.org)/(.+?)(?:v\d+)?$", link.get("refuri", "").lower())
        if id and (paper := app.reprolib_ids.get(id[1])):
            link["reftitle"] = feeds.reference(paper)
            link["classes"].append("paper")


# --- Before pages are read ---------------------------------------------------------------------------------


def prepare(app: Sphinx, config: Config) -> None:
    """Read the chapters, set up launch links, and write one page a module of the API."""
    root = Path(app.srcdir)
    app.reprolib_book = scoreboard.chapters(root)
    app.reprolib_papers = parse_file(root / BIBLIOGRAPHY, "bibtex").entries
    papers = app.reprolib_papers.values()
    app.reprolib_ids = {
        paper.fields[key].lower(): paper for paper in papers for key in ("eprint", "doi") if key in paper.fields
    }
    if config.reprolib_repository is None:  # a plain `jupyter-book build .`
        config.reprolib_repository = site.repository(root) or ""
    if config.reprolib_outdated is None:
        config.reprolib_outdated = site.outdated(root)
    if config.reprolib_repository:
        config.html_baseurl = config.html_baseurl or site.address(config.reprolib_repository)
        config.html_theme_options |= {
            "repository_url": config.reprolib_repository,
            "repository_branch": site.branch(),
            "launch_buttons": {"colab_url": "https://colab.research.google.com"},
        }
    code = [
        *sorted((root / TEMPLATES).glob("*.html")),
        Path(__file__),
        Path(scoreboard.__file__),
        Path(claims.__file__),
        Path(feeds.__file__),
        Path(oracles.__file__),
        Path(seeds.__file__),
    ]
    config.reprolib_code = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    for event in ("env-before-read-docs", "doctree-resolved"):  # live code needs a server and a script from elsewhere
        listeners = app.events.listeners[event]
        listeners[:] = [listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"]
    write_api(app, root / site.API)


def write_api(app: Sphinx, folder: Path) -> None:
    """Write a page for each module of reprolib; what did not change keeps its time."""
    text = "# {0}\n\n```{{eval-rst}}\n.. automodule:: {0}\n   :members:\n   :exclude-members: {1}\n```\n"
    texts = {name: text.format(name, ", ".join(NOT_OURS)) for name in modules()}
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.md"):
        if page.stem not in texts:  # `stem` cuts the last suffix only: reprolib.init.virgo stays whole
            page.unlink()
    for name, text in texts.items():
        page = folder / f"{name}.md"
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    app.reprolib_api = [f"{site.API}/{name}" for name in texts]


def modules() -> list[str]:
    """Return the names of reprolib's modules, the package itself first."""
    found = pkgutil.walk_packages(reprolib.__path__, "reprolib.")
    return ["reprolib", *sorted(module.name for module in found)]


def extend_toc(app: Sphinx, config: Config) -> None:
    """Add to the table of contents what is not in `_toc.yml`: full runs below their chapters, the API's pages."""
    toc = config.external_site_map

    def add(parent: str, pages: dict[str, str | None]) -> None:
        if parent in toc and pages:
            toc[parent].subtrees.append(TocTree([FileItem(page) for page in pages]))
            for page, title in pages.items():
                toc[page] = Document(page, title=title)

    for chapter in app.reprolib_book:
        if chapter.full:
            add(chapter.small.docname, {chapter.full.docname: "Full run"})
    add(site.API, dict.fromkeys(app.reprolib_api))


def write_thumbnails(app: Sphinx) -> None:
    """Write the gallery's pictures, small enough that the front page stays light."""
    folder = Path(app.outdir) / "_images" / "thumbnails"
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in app.reprolib_book:
        for png, mode in ((chapter.small.thumbnail, ""), (chapter.small.dark, "-dark")):
            if png:
                picture = Image.open(io.BytesIO(png)).convert("RGB")
                picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
                picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
                picture.save(folder / f"{chapter.slug}{mode}.png", optimize=True)


def chapter_page(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Lead from chapter to chapter, and describe a chapter to those who share its link."""
    pages = [chapter.small.docname for chapter in app.reprolib_book]
    if page not in pages:
        return
    here = pages.index(page)
    chapter = app.reprolib_book[here]
    for way, there in (("prev", here - 1), ("next", here + 1)):
        if 0 <= there < len(pages):
            link = app.builder.get_relative_uri(page, pages[there])
            context[way] = {"link": link, "title": html_escape(app.reprolib_book[there].title)}
    about = {"og:title": chapter.title, "og:description": chapter.header["summary"], "og:type": "article"}
    about["og:site_name"] = "Where Learning Starts"
    if place := address(app.config, page):
        about |= {"og:url": place, "og:image:alt": chapter.small.alt}
        about["og:image"] = f"{app.config.html_baseurl}_images/cards/{chapter.slug}.png"
        context["metatags"] += '\n<meta name="twitter:card" content="summary_large_image" />'
    for name, content in about.items():
        context["metatags"] += f'\n<meta property="{name}" content="{html_escape(content)}" />'
    context["metatags"] += f'\n<meta name="description" content="{html_escape(chapter.header["summary"])}" />'


def address(config: Config, docname: str) -> str:
    """Return the address of a page, or nothing where the site's own is not known."""
    return config.html_baseurl and f"{config.html_baseurl}{docname}.html"


def write_feeds(app: Sphinx, error: Exception | None) -> None:
    """Write what machines read."""
    if error is None and app.builder.format == "html":
        pages = [f"{docname}.html" for docname in sorted(app.env.found_docs)]
        repository, address = app.config.reprolib_repository, app.config.html_baseurl
        feeds.write(Path(app.outdir), app.reprolib_book, pages, repository, address, app.config.reprolib_outdated)


def mend_roles(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Take the role of a list from docutils' bibliography, whose entries have another role than list items."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Ship MathJax with the site: maths renders with the network off."""
    if error is None and app.builder.format == "html":
        package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
        target = Path(app.outdir) / "_static" / "mathjax"
        for name in MATHJAX:
            copy_asset(package / name, target / name if (package / name).is_dir() else target)


def escape_shapes(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Keep the stars of (samples, *features) or f(**options) from starting an emphasis; code is left alone."""
    star = re.compile(r"(`+[^`]+`+)|([(,] ?|:param )(\*{1,2})(?=\w+[,:)])")
    lines[:] = [star.sub(lambda m: m[1] or m[2] + m[3].replace("*", r"\*"), line) for line in lines]


def setup(app: Sphinx) -> dict:
    app.add_config_value("reprolib_repository", None, "env")
    app.add_config_value("reprolib_outdated", None, "env")
    app.add_config_value("reprolib_code", None, "env")  # pages are read anew when what generates them changes
    app.add_node(SizedImage, html=(visit_sized_image, depart_sized_image))
    app.add_directive("totals", Totals)
    app.add_directive("scoreboard", Scoreboard)
    app.add_directive("gallery", Gallery)
    app.add_directive("part", Part)
    app.add_directive("compared", Compared)
    app.add_directive("oracles", Oracles)
    app.add_directive("seeds", Seeds)
    app.connect("config-inited", prepare, priority=700)
    app.connect("config-inited", extend_toc, priority=950)  # after sphinx-external-toc has read _toc.yml
    app.connect("autodoc-process-docstring", escape_shapes)
    app.connect("builder-inited", write_thumbnails)
    app.connect("doctree-read", adapt_chapter, priority=100)  # before titles and images are collected
    app.connect("doctree-read", preview_papers)
    app.connect("html-page-context", mend_roles)
    app.connect("html-page-context", chapter_page)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", write_feeds)
    return {"version": reprolib.__version__, "parallel_read_safe": True, "parallel_write_safe": True}
