"""What is published fits together: launch links, install lines, downloads and the commit they all belong to."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from packaging.requirements import Requirement
from PIL import Image
from pybtex.database import parse_string
from pypdf import PdfReader

from reprolib.book import digest, feeds, scoreboard, site

ROOT = Path(__file__).parents[2]
IDEA = r"""## The idea

<details class="symbols">
<summary>Symbols</summary>

| Symbol | Meaning |
|:--|:--|
| $m$, $\sigma_m$ | width, and the deviation at width $m$ |

</details>

A variance $\sigma_m^2$ and the deviation $\sigma_m$ and

$$\boldsymbol{v} = \frac{2}{m} \tag{1}$$

> They say it in passing.

They go on.
"""
ADDRESS = "https://github.com/someone/where-learning-starts"


@pytest.fixture(scope="session")
def two_chapters(tmp_path_factory) -> Path:
    """A project with this book's pages and two chapters made up for the tests; the first has a full run."""
    root = tmp_path_factory.mktemp("two") / "project"
    left_out = shutil.ignore_patterns("notebooks", "full", "api", "parts", "compared", "seeds.json")
    shutil.copytree(ROOT / "book", root / "book", ignore=left_out)
    shutil.copy(ROOT / "_config.yml", root)
    write_chapter(root, "virgo", "variance", "small", ["reproduced", "partly", "not reproduced"])
    write_chapter(root, "virgo", "variance", "full", ["reproduced", "reproduced", "not reproduced"])
    write_chapter(root, "s4d", "sequences", "small", ["reproduced"], extras=[])
    (root / "book" / "parts").mkdir()
    (root / "book" / "parts" / "variance.md").write_text(
        "# Variance: a story\n\nIt is told.\n\n```{part} variance\n```\n"
    )
    (root / "book" / "compared").mkdir()
    (root / "book" / "compared" / "variance.md").write_text("# Compared\n\n```{compared} variance\n```\n")
    entries = [f"book/{page.stem}" for page in sorted(root.glob("book/*.md")) if page.stem != "index"]
    entries += [
        "book/parts/variance",
        "book/compared/variance",
        "book/notebooks/variance/virgo",
        "book/notebooks/sequences/s4d",
    ]
    pages = "".join(f"  - file: {entry}\n" for entry in entries)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/index\nparts:\n- caption: All\n  chapters:\n{pages}")
    git = ["git", "-C", str(root), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "book"]):
        subprocess.run([*git, *arguments], check=True)
    return root


@pytest.fixture(scope="session")
def published(two_chapters, build) -> Path:
    """The site of the two chapters, built with the repository's address known."""
    out = two_chapters.parent / "html"
    done = build(two_chapters, out, ADDRESS)
    assert done.returncode == 0, done.stderr
    return out


def write_chapter(root: Path, slug: str, part: str, scale: str, verdicts: list[str], extras=("graphs",)) -> Path:
    """Write an executed notebook as papermill leaves it, with one claim for each of `verdicts`."""
    claims = [claim(f"C{i + 1}", verdict) for i, verdict in enumerate(verdicts)]
    png = io.BytesIO()
    Image.new("RGB", (936, 416), "#fcfcfa").save(png, format="png")
    figure = {
        "output_type": "display_data",
        "data": {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": ["Figure: a card"]},
        "metadata": {
            "image/png": {"alt": "An empty card.", "width": 720, "height": 320},
            "reprolib": {"caption": "Figure 1. The variance $\\sigma^2$ stays **level**.", "thumbnail": True},
        },
    }
    caption = {
        "output_type": "display_data",
        "data": {
            "text/markdown": ["*Figure 1. The variance $\\sigma^2$ stays level.*"],
            "text/plain": ["The variance"],
        },
        "metadata": {"reprolib": {"role": "caption"}},
    }
    table = {
        "output_type": "execute_result",
        "execution_count": 4,
        "data": {"text/html": ["<table class='verdicts'><tr><td>table</td></tr></table>"], "text/plain": ["table"]},
        "metadata": {"reprolib": {"claims": claims}},
    }
    setup = (
        "import importlib.util\nimport os\n\n"
        'REPROLIB = os.environ.get("REPROLIB_INSTALL", "")  # the published chapter names its own commit here\n'
        'if importlib.util.find_spec("reprolib") is None:\n'
        '    get_ipython().run_line_magic("pip", f"install -q {REPROLIB}")'
    )
    cells = [
        markdown(f"# The paper on {slug}\n\nOne paragraph."),
        code(setup, tags=["setup", "hide-input"]),
        code('scale: str = "small"', tags=["parameters"]),
        code("# Parameters\nseed = 12345", tags=["injected-parameters"]),
        markdown(IDEA),
        code("show(fig)", [figure, caption]),
        markdown("## Verdicts"),
        code("verdicts", [table]),
        markdown("## At full scale\n\nWhat changes equation (1) and not equation (2), says Figure 1."),
        markdown("## Try it\n\n1. Another seed."),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "chapter": {
            "slug": slug, "title": f"The paper on {slug}", "summary": "What it found.", "part": part,
            "extras": list(extras), "paper": {"title": "The paper", "arxiv": "2312.02622"},
            "full": {"device": "cpu", "minutes": 30, "memory_gb": 2, "data": ["Cora"], "models": [], "reduced": ""},
        },
        "reprolib": {"slug": slug, "scale": scale, "seconds": 12.5, "cpu": "A CPU", "date": "2026-11-24T12:00:00"},
    }  # fmt: skip
    path = root / "book" / {"small": "notebooks", "full": "full"}[scale] / part / f"{slug}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    return path


def claim(id: str, verdict: str) -> dict:
    measured = {"name": "size", "statistic": "mean", "needed": "mean >= 1", "value": 2.0, "low": 1.5, "high": 2.5}
    return {
        "id": id, "kind": "effect", "statement": f"Statement {id}.", "paper": "in words", "measures": "a difference",
        "needed": "mean >= 1", "value": 2.0, "low": 1.5, "high": 2.5, "seeds": 5, "verdict": verdict,
        "fragile": False, "pilot": False, "criteria": [{**measured, "n": 5, "holds": True, "near": False}],
    }  # fmt: skip


def markdown(text: str) -> dict:
    return {
        "cell_type": "markdown",
        "id": f"m{abs(hash(text)) % 10**8}",
        "metadata": {},
        "source": text.splitlines(True),
    }


def code(text: str, outputs: list[dict] = (), tags: list[str] = ()) -> dict:
    return {
        "cell_type": "code", "id": f"c{abs(hash(text)) % 10**8}", "metadata": {"tags": list(tags)},
        "execution_count": 1, "outputs": list(outputs), "source": text.splitlines(True),
    }  # fmt: skip


def head(root) -> str:
    return subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


def setup_source(notebook: str) -> str:
    cells = json.loads(notebook)["cells"]
    return next("".join(cell["source"]) for cell in cells if "setup" in cell["metadata"].get("tags", ()))


def test_a_part_has_a_page_that_maps_every_claim_at_both_scales(published):
    page = (published / "book" / "parts" / "variance.html").read_text()
    table = re.search(r'<table class="scales map">.*?</table>', page, re.S)[0]
    said = re.findall(r"(small|full): ([a-z ]+)\.", table)
    assert said == [
        ("small", "reproduced"), ("full", "reproduced"), ("small", "partly"), ("full", "reproduced"),
        ("small", "not reproduced"), ("full", "not reproduced"),
    ]  # fmt: skip
    assert "It is told." in page and "virgo.html" in table
    front = (published / "book" / "index.html").read_text()
    assert front.count('class="story"') == 1 and 'href="parts/variance.html"' in front


def test_a_part_shows_how_clearly_each_claim_holds(published):
    page = (published / "book" / "parts" / "variance.html").read_text()
    table = re.search(r'<table class="scales margins">.*?</table>', page, re.S)[0]
    assert len(re.findall(r"<tr>", table)) == 1 + 3 and table.count('<line class="zero"') == 3
    for word in ("virgo C1", "small: ", "full: "):
        assert word in table


def test_a_comparison_puts_the_chapters_of_a_part_side_by_side(published):
    page = (published / "book" / "compared" / "variance.html").read_text()
    table = re.search(r'<table class="scales compared">.*?</table>', page, re.S)[0]
    assert "virgo.html" in table and "s4d.html" not in table
    assert "1 partly" in table and "not run" not in table


def test_launch_links_open_the_stamped_notebook_on_the_published_branch(published):
    colab = "https://colab.research.google.com/github/someone/where-learning-starts/blob/published"
    for name in ("book/notebooks/variance/virgo", "book/full/variance/virgo"):
        page = (published / f"{name}.html").read_text()
        links = re.findall(r'href="(https://colab[^"]*)"', page)
        assert len(links) >= 2 and set(links) == {f"{colab}/{name}.ipynb"}, "banner and header agree"
    assert "colab.research" not in (published / "book" / "run.html").read_text(), "pages are no notebooks"


@pytest.mark.parametrize(("name", "package"), [("variance/virgo", "reprolib[graphs]"), ("sequences/s4d", "reprolib")])
def test_downloads_and_published_notebooks_install_reprolib_at_their_own_commit(published, two_chapters, name, package):
    download = (published / "_sources" / "book" / "notebooks" / f"{name}.ipynb").read_text()
    staged = (published.parent / "source" / "book" / "notebooks" / f"{name}.ipynb").read_text()
    assert download == staged, "the page's download and the file that Colab opens are the same"
    calls = []
    scope = {"get_ipython": lambda: type("Shell", (), {"run_line_magic": lambda _, *line: calls.append(line)})()}
    source = setup_source(download).replace('find_spec("reprolib")', 'find_spec("not_installed_anywhere")')
    exec(source, scope)
    [(magic, line)] = calls
    assert magic == "pip"
    _, _, requirement = line.split()  # one word: pip's magic splits at spaces
    parsed = Requirement(requirement)
    assert str(parsed).split("@")[0].strip() == package
    assert parsed.url == f"git+{ADDRESS}@{head(two_chapters)}"


def test_an_installation_named_in_the_environment_wins_over_the_stamp(published, monkeypatch):
    download = (published / "_sources" / "book" / "notebooks" / "variance" / "virgo.ipynb").read_text()
    monkeypatch.setenv("REPROLIB_INSTALL", "./reprolib.whl")
    scope = {}
    exec(setup_source(download), scope)
    assert scope["REPROLIB"] == "./reprolib.whl"


def test_stamping_leaves_the_working_tree_as_it_was(published, two_chapters):
    status = subprocess.run(["git", "-C", str(two_chapters), "status", "--porcelain"], capture_output=True, text=True)
    assert status.stdout == ""


def test_a_chapter_without_its_setup_cell_stops_the_build_and_is_named(tmp_path):
    path = write_chapter(tmp_path, "virgo", "variance", "small", ["partly"])
    path.write_text(path.read_text().replace("REPROLIB_INSTALL", "SOMETHING_ELSE"))
    (tmp_path / "_toc.yml").touch()
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=T", "-c", "user.email=t@e.org", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    with pytest.raises(ValueError, match="book/notebooks/variance/virgo.ipynb: no cell tagged setup"):
        site.stage(tmp_path, tmp_path / "source", ADDRESS)


@pytest.mark.parametrize(
    "url",
    [ADDRESS, f"{ADDRESS}.git", f"{ADDRESS}/", "git@github.com:someone/where-learning-starts.git",
     "ssh://git@github.com/someone/where-learning-starts", "https://token@github.com/someone/where-learning-starts.git"],
)  # fmt: skip
def test_the_address_is_found_in_every_form_of_a_git_remote(tmp_path, url):
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", url], check=True)
    assert site.repository(tmp_path, {}) == ADDRESS


def test_the_address_comes_from_the_environment_first(tmp_path):
    assert site.repository(tmp_path, {}) is None
    assert site.repository(tmp_path, {"GITHUB_REPOSITORY": "a/b"}) == "https://github.com/a/b"
    assert site.repository(tmp_path, {"GITHUB_REPOSITORY": "a/b", "BOOK_REPOSITORY": ADDRESS}) == ADDRESS
    assert site.repository(tmp_path, {"GITHUB_REPOSITORY": "a/b", "BOOK_REPOSITORY": ""}) is None


@pytest.mark.parametrize("url", ["https://gitlab.com/a/b", "github.com/a", "https://github.com/a/b/tree/main", "a/b"])
def test_an_address_that_is_no_github_repository_is_refused(tmp_path, url):
    with pytest.raises(ValueError, match="https://github.com/OWNER/NAME"):
        site.repository(tmp_path, {"BOOK_REPOSITORY": url})


def test_staging_drops_what_is_gone_and_does_not_touch_what_did_not_change(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.md").write_text("a")
    (tmp_path / "book" / "b.md").write_text("b")
    site.stage(tmp_path, tmp_path / "source")
    before = (tmp_path / "source" / "book" / "a.md").stat().st_mtime_ns
    (tmp_path / "book" / "b.md").unlink()
    site.stage(tmp_path, tmp_path / "source")
    assert not (tmp_path / "source" / "book" / "b.md").exists()
    assert (tmp_path / "source" / "book" / "a.md").stat().st_mtime_ns == before


def test_banner_says_what_the_run_found_and_what_full_needs(published, serve, open_page):
    base = serve(published)
    page = open_page(base)
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    banner = page.get_by_label("This chapter at a glance").inner_text()
    for words in ("1 reproduced", "1 partly", "1 not reproduced", "12 s", "30 min on a CPU", "2 GB", "Cora"):
        assert words in banner
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the notebook").click()
    assert json.loads(download.value.path().read_text())["metadata"]["chapter"]["slug"] == "virgo"
    assert page.problems == []


def test_results_are_offered_as_json_and_csv_with_every_claim_of_both_scales(published, two_chapters):
    results = json.loads((published / "results.json").read_text())
    schema = json.loads((published / "_static" / "results.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(results)
    assert schema["properties"]["version"]["const"] == feeds.RESULTS_VERSION
    virgo, s4d = results["chapters"]
    assert results["repository"] == ADDRESS and s4d["full"] is None
    assert [claim["verdict"] for claim in virgo["full"]["claims"]] == ["reproduced", "reproduced", "not reproduced"]
    assert (published / virgo["page"]).is_file() and (two_chapters / virgo["small"]["notebook"]).is_file()
    rows = list(csv.DictReader((published / "results.csv").open()))
    found = [(row["slug"], row["scale"], row["claim"], row["verdict"], row["value"], row["n"]) for row in rows]
    assert len(found) == 3 + 3 + 1
    assert found[1] == ("virgo", "small", "C2", "partly", "2.0", "5")
    assert all((published / row["page"]).is_file() for row in rows)


def test_a_shared_link_shows_the_chapters_figure_and_the_sitemap_lists_every_page(published):
    site = "https://someone.github.io/where-learning-starts/"
    page = (published / "book" / "notebooks" / "variance" / "virgo.html").read_text()
    tags = dict(re.findall(r'<meta property="(og:[a-z:_]+)" content="([^"]*)"', page))
    assert tags["og:title"] == "The paper on virgo" and tags["og:description"] == "What it found."
    assert tags["og:url"] == f"{site}book/notebooks/variance/virgo.html" and tags["og:image:alt"] == "An empty card."
    with Image.open(published / tags["og:image"].removeprefix(site)) as card:
        assert card.size == feeds.CARD
    pages = re.findall(r"<loc>(.*?)</loc>", (published / "sitemap.xml").read_text())
    assert len(pages) > 5 and all((published / place.removeprefix(site)).is_file() for place in pages)


def test_without_an_address_nothing_is_written_that_needs_one(two_chapters, tmp_path):
    feeds.write(tmp_path, scoreboard.chapters(two_chapters), ["book/index.html"], "", "", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.json"]


def test_a_chapter_can_be_cited_run_and_opened_in_binder(published, serve, open_page):
    base = serve(published)
    page = open_page(base)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    page.get_by_text("Cite it").click()
    cited = parse_string(page.locator("details pre", has_text="@misc").inner_text(), "bibtex").entries
    assert set(cited) == {"virgo", "virgo-reproduced"}
    assert cited["virgo"].fields["eprint"] == "2312.02622"
    assert cited["virgo-reproduced"].fields["url"].endswith("/book/notebooks/variance/virgo.html")
    page.get_by_text("Run it from the command line").click()
    command = page.locator("details pre", has_text="papermill").inner_text()
    assert "papermill book/notebooks/variance/virgo.ipynb virgo-full.ipynb -p scale full" in command
    page.locator("details button.copybtn").first.wait_for(state="attached")
    page.wait_for_function("[...document.querySelectorAll('.banner pre')].every(box => box.tabIndex === 0)")
    binder = page.get_by_role("link", name="Open in Binder").get_attribute("href")
    notebook = "book%2Fnotebooks%2Fvariance%2Fvirgo.ipynb"
    assert binder == f"https://mybinder.org/v2/gh/someone/where-learning-starts/published?labpath={notebook}"


def test_chapters_lead_to_their_neighbors(published, serve, open_page):
    base = serve(published)
    page = open_page(base)
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    page.locator(".prev-next-area a.right-next").click()
    page.wait_for_url("**/sequences/s4d.html")
    page.locator(".prev-next-area a.left-prev").click()
    page.wait_for_url("**/variance/virgo.html")


def test_both_scales_stand_side_by_side(published, serve, open_page):
    base = serve(published)
    page = open_page(base)
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    rows = page.locator("table.scales tbody tr").all_inner_texts()
    assert len(rows) == 3 and "partly" in rows[1] and "reproduced" in rows[1] and "size: 2 (1.5 to 2.5)" in rows[1]


def browse(what: str, site: Path, root: Path, out: Path) -> str:
    """A process of its own: the tests' browser runs already."""
    command = [sys.executable, "-m", "reprolib.book.browse", what, "--site", site, "--root", root, "--out", out]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_whole_book_is_printed_with_a_table_of_contents_that_is_right(published, two_chapters, tmp_path):
    said = browse("pdf", published, two_chapters, tmp_path / "book.pdf")
    pages = [" ".join(page.extract_text().split()) for page in PdfReader(tmp_path / "book.pdf").pages]
    assert said.endswith(f"{len(pages)} pages")
    for title in ("Scoreboard", "The paper on virgo", "The paper on s4d"):
        number = int(re.search(rf"{title} (\d+)", pages[0])[1])
        assert pages[number - 1].startswith(title)
    assert any("Statement C3." in page for page in pages)


def test_screenshots_show_three_pages_at_three_widths_in_both_modes(published, two_chapters, tmp_path):
    browse("screenshots", published, two_chapters, tmp_path)
    made = list(tmp_path.glob("*.png"))
    assert len(made) == 3 * 3 * 2
    for path in made:
        with Image.open(path) as picture:
            assert f"-{picture.width}-" in path.name


def test_browsing_without_a_site_is_one_sentence(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        browse("pdf", tmp_path, tmp_path, tmp_path / "book.pdf")
    assert failed.value.stderr.splitlines() == [f"error: {tmp_path} holds no site: build it with `make site`."]


def test_papermills_copy_of_the_parameters_is_not_shown(published):
    page = (published / "book" / "notebooks" / "variance" / "virgo.html").read_text()
    assert "12345" not in page and "tag_parameters" in page


def test_a_figure_shows_its_caption_once_with_maths(published, serve, open_page):
    base = serve(published)
    page = open_page(base)
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    assert page.get_by_text("stays level", exact=False).count() == 1
    image = page.locator("figure img")
    assert [image.get_attribute(name) for name in ("alt", "width", "height")] == ["An empty card.", "720", "320"]
    page.locator("figcaption mjx-container").wait_for()
    assert page.locator("figcaption strong").inner_text() == "level"


def with_maths(open_page, base: str, **options):
    """Open a chapter and wait until its formulas are drawn."""
    page = open_page(base, **options)
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    page.locator("div.math mjx-container").wait_for()
    return page


def test_numbers_in_prose_show_the_equation_and_the_figure_that_they_lead_to(published, serve, open_page):
    page = with_maths(open_page, serve(published))
    assert page.locator("div.math .eqno").inner_text().strip("#\n ") == "(1)"
    mentions, shown = page.locator("a.mention"), page.locator("#preview")
    assert mentions.all_inner_texts() == ["equation (1)", "Figure 1"]  # there is no equation (2)
    mentions.nth(0).focus()
    assert shown.locator("mjx-container").inner_text() == page.locator("div.math mjx-container").inner_text()
    mentions.nth(1).hover()
    assert shown.locator("img:visible").count() == 1 and "stays level" in shown.inner_text()
    page.keyboard.press("Escape")
    assert shown.is_hidden()
    mentions.nth(1).click()
    assert page.url.endswith("#figure-1")


def test_a_symbol_shows_what_the_table_says_and_not_what_it_says_of_another(published, serve, open_page):
    page = with_maths(open_page, serve(published))
    shown, prose = page.locator("#preview"), page.get_by_text("A variance").locator("mjx-math")
    page.locator("div.math mjx-frac mjx-den mjx-mi").last.hover()
    assert " ".join(shown.inner_text().split()) == "𝑚 : width, and the deviation at width 𝑚"
    page.mouse.move(5, 5)
    assert shown.is_hidden()
    page.locator("div.math mjx-num").hover()  # a 2 means nothing
    assert shown.is_hidden()
    prose.nth(1).locator("mjx-mi").first.hover()  # the sigma of sigma with an index
    assert "𝜎" in shown.inner_text()
    prose.nth(0).locator("mjx-mi").first.hover()  # sigma with an index and a power is another symbol
    assert shown.is_hidden()


def test_a_symbol_that_is_tapped_shows_its_meaning_until_the_next_tap(published, serve, open_page):
    page = with_maths(open_page, serve(published), has_touch=True, viewport={"width": 390, "height": 844})
    page.locator("div.math mjx-frac mjx-den mjx-mi").last.tap()
    page.wait_for_timeout(300)
    assert page.locator("#preview").is_visible()
    page.get_by_text("They go on.").tap()
    assert page.locator("#preview").is_hidden()


@pytest.mark.parametrize("width", [1440, 1200, 390])
def test_an_aside_stands_in_the_margin_where_there_is_one(published, serve, open_page, width):
    page = open_page(base := serve(published), viewport={"width": width, "height": 900})
    page.goto(f"{base}/book/notebooks/variance/virgo.html")
    aside, after = page.locator("article div.margin"), page.get_by_text("They go on.")
    aside.scroll_into_view_if_needed()
    beside = aside.bounding_box()["x"] >= after.bounding_box()["x"] + after.bounding_box()["width"]
    assert beside == (width >= 1200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_full_runs_are_shown_where_they_were_made_and_only_there(published):
    with_full = (published / "book" / "notebooks" / "variance" / "virgo.html").read_text()
    section = with_full[with_full.index('id="at-full-scale"') :]
    assert section.count('class="verdict verdict-reproduced"') == 2
    assert "../../full/variance/virgo.html" in section
    without = (published / "book" / "notebooks" / "sequences" / "s4d.html").read_text()
    assert "The full run has not been made here" in without
    child = (published / "book" / "full" / "variance" / "virgo.html").read_text()
    assert "<h1>The paper on virgo: full run" in child


def test_a_warning_of_the_build_is_an_error(two_chapters, tmp_path, build):
    root = tmp_path / "project"
    shutil.copytree(two_chapters, root, ignore=shutil.ignore_patterns(".git"))
    (root / "book" / "run.md").write_text("# How to run it\n\n[nowhere](not-a-page.md)\n")
    done = build(root, tmp_path / "html")
    assert done.returncode == 1 and "not-a-page" in done.stderr and "not built cleanly" in done.stderr


def test_rows_join_both_scales_claim_by_claim(two_chapters):
    rows = scoreboard.rows(scoreboard.chapters(two_chapters))
    assert [(row["slug"], row["id"], row["small"], row["full"]) for row in rows] == [
        ("virgo", "C1", "reproduced", "reproduced"),
        ("virgo", "C2", "partly", "reproduced"),
        ("virgo", "C3", "not reproduced", "not reproduced"),
        ("s4d", "C1", "reproduced", None),
    ]
    assert scoreboard.markdown(scoreboard.chapters(two_chapters)).count("\n") == 2 + len(rows)


def test_a_file_that_is_no_executed_chapter_is_named(tmp_path):
    path = write_chapter(tmp_path, "virgo", "variance", "small", ["partly"])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="book/notebooks/variance/virgo.ipynb is no executed chapter"):
        scoreboard.chapters(tmp_path)


def test_the_books_own_pages_are_all_in_its_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text()
    assert [page.stem for page in (ROOT / "book").glob("*.md") if f"book/{page.stem}" not in toc] == []


def test_a_full_run_recorded_with_other_code_says_so(two_chapters, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(two_chapters, root, ignore=shutil.ignore_patterns(".git"))
    source = root / "chapters" / "variance" / "virgo.py"
    source.parent.mkdir(parents=True)
    source.write_text("def trial(config, seed):\n    return {}\n\n\nsweep(trial, {}, [0], run=run)\n")
    full = root / "book" / "full" / "variance" / "virgo.ipynb"
    notebook = json.loads(full.read_text())
    notebook["metadata"]["reprolib"]["science"] = digest.sciences(source.read_text())
    full.write_text(json.dumps(notebook))
    assert site.outdated(root) == []
    source.write_text(source.read_text().replace("{}\n\n\n", "{'changed': 1}\n\n\n"))
    assert site.outdated(root) == ["virgo"]
