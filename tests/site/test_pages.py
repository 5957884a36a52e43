"""Every page of the built book, opened in a browser that has no network beyond the site itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from reprolib.book import scoreboard

ROOT = Path(__file__).parents[2]
SERIOUS = {"serious", "critical"}
TABLET, PHONE = (820, 1180), (390, 844)
MATHS_DONE = "() => !window.MathJax?.startup || MathJax.startup.promise.then(() => true)"
IMAGES_DONE = """() => Promise.all([...document.images].map(image => {
    image.loading = "eager";
    return image.decode().catch(() => null);
}))"""
LOOK = """() => ({
    broken: [...document.images].filter(i => i.checkVisibility() && !i.naturalWidth).map(i => i.src),
    unnamed: [...document.querySelectorAll("article img")].filter(i => !i.alt.trim()).map(i => i.src),
    unsized: [...document.querySelectorAll("article figure img")]
        .filter(i => !i.getAttribute("width") || !i.getAttribute("height")).map(i => i.src),
    twoModes: [...document.querySelectorAll("article figure")]
        .filter(f => ["img.when-light", "img.when-dark"].some(mode => f.querySelectorAll(mode).length !== 1))
        .map(f => f.id),
    figures: document.querySelectorAll("article figure:has(img):has(figcaption)").length,
    maths: document.querySelectorAll("span.math, div.math").length,
    rendered: document.querySelectorAll(":is(span, div).math mjx-container").length,
    mathErrors: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
    searchFields: document.querySelectorAll("input[name=q]").length,
    searchButtons: [...document.querySelectorAll(".search-button__button")].filter(b => b.checkVisibility()).length,
    width: document.documentElement.scrollWidth,
    equations: document.querySelectorAll("div.math .eqno a[href^='#equation-']").length,
    displayed: document.querySelectorAll("div.math").length,
})"""
# What moves without the reader's doing (layout shift score, web.dev/cls), noted from the first paint on.
NOTE_SHIFTS = """
    window.layoutShift = 0;
    new PerformanceObserver(list => list.getEntries().forEach(e => { window.layoutShift += e.value; }))
        .observe({type: "layout-shift", buffered: true});
"""


@dataclass(frozen=True)
class Visit:
    """What one page showed: at 1440 pixels in light, then in dark, then on a tablet and a phone."""

    name: str
    problems: list[str]
    seen: dict
    violations: list[str]
    dark_violations: list[str]
    widths: dict[int, int]  # of the viewport -> of the page


def violations(page, **options) -> list[str]:
    options = {"resultTypes": ["violations"], "preload": False, **options}  # axe's preload asks for wrong addresses
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for violation in found
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]


@pytest.fixture(scope="session")
def book(tmp_path_factory, build) -> Path:
    """The site of this very book, built with no repository address known."""
    out = tmp_path_factory.mktemp("book") / "html"
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def visits(book, serve, open_page) -> list[Visit]:
    base = serve(book)
    page = open_page(base, color_scheme="light", reduced_motion="reduce")
    found = []
    for path in sorted(book.rglob("*.html")):
        name = path.relative_to(book).as_posix()
        if name.startswith("_static/") or name == "index.html":  # the latter sends its reader to the first page
            continue
        page.problems.clear()
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(f"{base}/{name}", wait_until="load")
        page.wait_for_function(MATHS_DONE)
        page.evaluate(IMAGES_DONE)
        seen, light = page.evaluate(LOOK), violations(page)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=5000)
        dark = violations(page, runOnly=["color-contrast", "link-in-text-block"])  # all that dark mode changes
        widths = {1440: seen["width"]}
        for width, height in (TABLET, PHONE):
            page.set_viewport_size({"width": width, "height": height})
            widths[width] = page.evaluate("document.documentElement.scrollWidth")
        found.append(Visit(name, list(page.problems), seen, light, dark, widths))
    return found


@pytest.fixture(scope="module")
def chapters(visits) -> list[Visit]:
    found = [visit for visit in visits if visit.name.startswith((f"{scoreboard.SMALL}/", f"{scoreboard.FULL}/"))]
    assert found, "the book has no chapter"
    return found


def test_no_page_reports_an_error_or_asks_for_anything_from_elsewhere(visits):
    assert {visit.name: visit.problems for visit in visits if visit.problems} == {}


def test_maths_renders_with_the_network_blocked(visits):
    for visit in visits:
        assert visit.seen["rendered"] == visit.seen["maths"], visit.name
        assert visit.seen["mathErrors"] == 0, visit.name
    assert sum(visit.seen["maths"] for visit in visits) > 0


def test_every_image_loads_and_says_what_it_shows(visits):
    for visit in visits:
        assert visit.seen["broken"] == visit.seen["unnamed"] == [], visit.name


def test_every_chapter_has_figures_with_captions_and_sizes(chapters):
    for visit in chapters:
        assert visit.seen["figures"] > 0, visit.name
        assert visit.seen["unsized"] == [], visit.name


def test_every_figure_follows_light_and_dark(chapters, book, serve, open_page):
    assert {visit.name: visit.seen["twoModes"] for visit in chapters if visit.seen["twoModes"]} == {}
    base = serve(book)
    page = open_page(base, color_scheme="dark")
    page.goto(f"{base}/{chapters[0].name}", wait_until="load")
    figure = page.locator("#figure-1")
    assert figure.locator("img.when-dark").is_visible() and figure.locator("img.when-light").is_hidden()
    assert figure.locator("figcaption").is_visible()
    assert figure.locator("figcaption").inner_text().startswith("Figure 1. ")


def test_every_page_has_one_search_field(visits):
    for visit in visits:
        assert (visit.seen["searchFields"], visit.seen["searchButtons"]) == (1, 1), visit.name


def test_no_page_scrolls_sideways(visits):
    wide = {visit.name: visit.widths for visit in visits if any(page > screen for screen, page in visit.widths.items())}
    assert wide == {}


def test_figures_keep_their_place_free_until_they_load(book, serve, chapters, open_page):
    page = open_page(base := serve(book))
    page.add_init_script(NOTE_SHIFTS)
    page.route("**/mathjax/**", lambda route: route.abort())  # typesetting moves text; figures alone are meant here
    moved = {}
    for visit in chapters:
        page.goto(f"{base}/{visit.name}", wait_until="load")
        figures = page.locator("article figure")
        for k in range(figures.count()):
            figures.nth(k).scroll_into_view_if_needed()
        page.evaluate(IMAGES_DONE)
        moved[visit.name] = page.evaluate("window.layoutShift")
    assert {name: shift for name, shift in moved.items() if shift > 0.02} == {}


def test_every_displayed_equation_has_a_number_that_can_be_linked(chapters):
    assert sum(visit.seen["displayed"] for visit in chapters) > 0
    assert {visit.name for visit in chapters if visit.seen["equations"] != visit.seen["displayed"]} == set()


def test_no_serious_accessibility_violation_in_light(visits):
    assert {visit.name: visit.violations for visit in visits if visit.violations} == {}


def test_no_serious_accessibility_violation_in_dark(visits):
    assert {visit.name: visit.dark_violations for visit in visits if visit.dark_violations} == {}


class Page(HTMLParser):
    """The links, ids and sources of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.ids, self.loads = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in attributes:
            self.loads.append(attributes["src"])
        if tag == "link" and attributes.get("rel") not in ("canonical",) and "href" in attributes:
            self.loads.append(attributes["href"])


def test_every_internal_link_and_anchor_resolves(book):
    pages = {path: Page(path) for path in book.rglob("*.html") if "_static" not in path.parts}
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (url.fragment and target in pages and url.fragment not in pages[target].ids):
                dead.append(f"{path.relative_to(book)}: {link}")
    assert dead == []


def test_no_page_loads_anything_from_another_address(book):
    pages = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    assert [(p.name, src) for p in pages for src in Page(p).loads if re.match(r"(https?:)?//", src)] == []


def test_no_citation_is_left_unresolved(book):
    for path in (book / "book").rglob("*.html"):
        assert not re.search(r"<p>[^<]*\[\]|\[<em>\?", path.read_text(encoding="utf-8")), path.name
    assert "Efron" in (book / "book" / "references.html").read_text(encoding="utf-8")


def test_without_an_address_nothing_offers_to_launch(book):
    for path in (book / "book").rglob("*.html"):
        assert "colab.research.google.com" not in path.read_text(encoding="utf-8"), path.name


def test_search_finds_virgo_from_any_page(book, serve, open_page):
    base = serve(book)
    page = open_page(base)
    page.goto(f"{base}/book/run.html")
    page.get_by_role("button", name="Search").click()
    page.locator("input[name=q]").fill("Virgo")
    page.keyboard.press("Enter")
    found = page.locator("#search-results a[href*='variance/virgo.html']").first
    found.wait_for(timeout=10_000)
    found.click()
    page.locator("article h1").wait_for()
    assert page.problems == []


def test_front_page_shows_every_chapter_and_the_counts_of_the_runs(book, serve, open_page):
    base, read = serve(book), scoreboard.chapters(ROOT)
    page = open_page(base)
    page.goto(f"{base}/index.html")
    page.wait_for_url("**/book/index.html")
    shown = dict(
        zip(page.locator(".totals dt").all_inner_texts(), page.locator(".totals dd").all_inner_texts(), strict=True)
    )
    rows = scoreboard.rows(read)
    assert int(shown.get("papers") or shown["paper"]) == len(read)
    assert int(shown.get("claims") or shown["claim"]) == len(rows)
    for verdict, count in scoreboard.tally(row["small"] for row in rows).items():
        assert int(shown[verdict]) == count
    cards = page.locator(".card-chapter")
    assert cards.locator("h3").all_inner_texts() == [chapter.title for chapter in read]
    assert cards.locator("img:visible").count() == len(read), "every chapter has a thumbnail"


@pytest.fixture()
def board(book, serve, open_page):
    base = serve(book)
    page = open_page(base)
    page.goto(f"{base}/book/scoreboard.html")
    return page


def visible_rows(page) -> list[str]:
    return page.locator("#claims-table tbody tr:not([hidden])").all_inner_texts()


def test_scoreboard_has_one_row_a_claim(board):
    assert len(visible_rows(board)) == len(scoreboard.rows(scoreboard.chapters(ROOT))) > 0


def test_scoreboard_filters_by_part_verdict_scale_and_words(board):
    rows = scoreboard.rows(scoreboard.chapters(ROOT))

    def expect(**wanted):
        expected = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        assert len(visible_rows(board)) == len(expected), wanted
        assert board.locator("#claims-filters output").inner_text() == f"{len(expected)} of {len(rows)} claims"

    board.locator("select[name=part]").select_option(rows[-1]["part"])
    expect(part=rows[-1]["part"])
    board.get_by_role("button", name="Reset").click()
    board.wait_for_timeout(50)
    expect()
    for verdict in scoreboard.VERDICTS:
        board.get_by_label("Verdict").select_option(verdict)
        expect(small=verdict)
        board.get_by_label("Scale").select_option("full")
        expect(full=verdict)
        board.get_by_label("Scale").select_option("small")
    board.get_by_label("Verdict").select_option("")
    statement = rows[0]["statement"]
    board.get_by_label("Words").fill(statement.upper())
    assert 0 < len(visible_rows(board)) < len(rows) and all(statement in row for row in visible_rows(board))


def test_a_filtered_scoreboard_can_be_shared_by_its_address(board, book, serve, open_page):
    rows = scoreboard.rows(scoreboard.chapters(ROOT))
    board.locator("select[name=part]").select_option(rows[-1]["part"])
    board.get_by_label("Scale").select_option("full")
    board.get_by_label("Full needs").select_option("cpu")
    wanted = visible_rows(board)
    assert 0 < len(wanted) < len(rows)
    other = open_page(board.url.split("/book/")[0])
    other.goto(board.url)
    assert visible_rows(other) == wanted
    other.get_by_role("button", name="Reset").click()
    other.wait_for_function("location.search === ''")
    other.goto(board.url.split("?")[0] + "?part=nonsense")
    assert len(visible_rows(other)) == len(rows), "an unknown value is no filter"


def test_scoreboard_sorts_with_the_keyboard_and_says_so(board):
    head = board.locator("#claims-table thead th").first

    def papers():
        return board.locator("#claims-table tbody th").all_inner_texts()

    head.get_by_role("button").focus()
    board.keyboard.press("Enter")
    ascending = papers()
    assert head.get_attribute("aria-sort") == "ascending"
    board.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [paper.lower() for paper in ascending] == sorted(paper.lower() for paper in ascending)
    assert [paper.lower() for paper in papers()] == sorted((paper.lower() for paper in papers()), reverse=True)


def test_scoreboard_is_a_readable_table_before_scripts_load(book, serve, open_page):
    base = serve(book)
    page = open_page(base, java_script_enabled=False)
    page.goto(f"{base}/book/scoreboard.html")
    assert page.locator("#claims-filters").is_hidden()
    assert page.locator("#claims-table tbody tr").first.is_visible()


def test_book_works_from_files_without_a_server(book, open_page):
    page = open_page("file://")
    page.goto((book / "book" / "scoreboard.html").as_uri())
    page.get_by_label("Words").fill("no claim says this")
    assert visible_rows(page) == []
    page.goto((book / "book" / "verdicts.html").as_uri())
    page.wait_for_function(MATHS_DONE)
    assert page.locator("mjx-container").count() > 0
    assert page.problems == []


def test_a_link_to_a_paper_shows_its_reference_to_pointer_and_keyboard(book, serve, open_page):
    page = open_page(base := serve(book))
    page.goto(f"{base}/{scoreboard.SMALL}/variance/virgo.html")
    link, shown = page.locator("article a.paper").first, page.locator("#preview")
    assert shown.is_hidden()
    link.focus()
    assert shown.is_visible() and re.search(r"\(\d{4}\)\. \w", shown.inner_text())
    assert link.get_attribute("aria-description") == shown.inner_text()
    box = shown.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1440
    page.keyboard.press("Escape")
    assert shown.is_hidden()
    link.hover()
    assert shown.is_visible()
    page.mouse.move(5, 5)
    assert shown.is_hidden()


def test_focus_is_visible_wherever_the_keyboard_leads(book, serve, open_page):
    base = serve(book)
    for scheme in ("light", "dark"):
        page = open_page(base, color_scheme=scheme)
        page.goto(f"{base}/book/scoreboard.html", wait_until="load")
        plain = []
        for _ in range(40):
            page.keyboard.press("Tab")
            plain += page.evaluate(
                """() => {
                    const at = document.activeElement, style = getComputedStyle(at);
                    const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                    const seen = ring || style.boxShadow !== "none" || at === document.body;
                    return seen ? [] : [at.outerHTML.slice(0, 120)];
                }"""
            )
        assert plain == [], scheme
