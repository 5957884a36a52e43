"""The contract that every chapter keeps (DESIGN: "A chapter's contract"). A breach is one sentence with the fix."""

from __future__ import annotations

import ast
import base64
import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat.v4 import new_markdown_cell

from reprolib.book.chapter import PARTS, Chapter, Mistake

HEADINGS = ("Claims", "The idea", "Experiments", "Verdicts", "At full scale", "What differs from the paper", "Try it")
CELL_LINES = 40
NOTEBOOK_BYTES = 1_500_000
PNG_WARN, PNG_FAIL = 60_000, 100_000
SETUP = """\
# On a fresh Colab runtime this installs reprolib first.
import importlib.util
import os

REPROLIB = os.environ.get("REPROLIB_INSTALL", "")  # the published chapter names its own commit here
if importlib.util.find_spec("reprolib") is None:
    if not REPROLIB:
        raise ModuleNotFoundError(
            "reprolib is not installed: run `pip install .` in a clone of this book, then start this chapter again."
        )
    get_ipython().run_line_magic("pip", f"install -q {REPROLIB}")
reprolib = importlib.import_module("reprolib")  # before numpy and torch, so that more processors agree"""
PARAMETERS = {  # name -> type, default, comments (a chapter may have no use for a GPU)
    "scale": ("str", "small", ("small | full",)),
    "seed": ("int", 0, ("base seed; every random draw follows from it",)),
    "device": ("str", "auto", ("auto | cpu | cuda", "auto | cpu")),
    "dry_run": ("bool", False, ("walk the path with two steps and no verdicts",)),
}
HEADER = {"slug": str, "title": str, "summary": str, "paper": dict, "part": str, "full": dict}
PAPER = {"title": str, "authors": list, "year": int, "venue": str}
FULL = {"device": str, "minutes": float, "memory_gb": float, "data": list, "models": list, "reduced": str}
KINDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a block of fields"}
MAY_BE_EMPTY = ("full.data", "full.models", "full.reduced")
MYST = re.compile(r"(?:^|[\s(*_])\{[A-Za-z][\w:+-]*\}`[^`\n]+`|^\s*(?:`{3,}|:{3,})\{|^\(\S+\)=\s*$", re.MULTILINE)
SYMBOLS = re.compile(r'^<details class="symbols">\n<summary>Symbols</summary>\n\n(.+?)\n\n</details>$', re.M | re.S)
MENTION = re.compile(r"\b([Ee]quation \(\d+\)|Figure \d+\b)")  # of a number that the chapter gives
MACHINE_PATH = re.compile(r"(?<![\w./:])/(?:home|root|tmp|Users|work|mnt|private|var/folders)/[\w.-]+|\b[A-Z]:\\\w+")


@dataclass(frozen=True)
class Breach:
    """One sentence that says what is wrong and how to put it right."""

    text: str
    warning: bool = False  # worth a look, but kept


def breaches(chapter: Chapter) -> list[Breach]:
    """Return everything in which a chapter, or its executed small notebook, breaks the contract."""
    try:
        cells = chapter.notebook.cells
        rules = [rule(chapter) for rule in (header, opening)]
        rules += [rule(cells) for rule in (headings, claims, code_cells, prose, symbols, numbers, try_it)]
        found = list(itertools.chain(*rules))
    except Mistake as mistake:
        return [Breach(str(mistake))]
    except SyntaxError as error:
        return [Breach(f"a code cell is no plain Python ({error}): write magics as get_ipython() calls.")]
    return [*map(Breach, found), *executed(chapter)]


def header(chapter: Chapter) -> Iterator[str]:
    """The YAML header: every field, of its type, and in agreement with the file's place."""
    head = chapter.header
    if not head:
        yield "the header has no `chapter:` block: add slug, title, summary, paper, part and full under `jupyter:`."
        return
    fields = [(name, head, name, kind) for name, kind in HEADER.items()]
    for block, kinds in (("paper", PAPER), ("full", FULL)):
        if isinstance(head.get(block), dict):
            fields += [(f"{block}.{name}", head[block], name, kind) for name, kind in kinds.items()]
    for where, values, name, kind in fields:
        value = values.get(name)
        if not isinstance(value, (int, float) if kind is float else kind):
            yield f"header field {where} must be {KINDS[kind]}, got {value!r}."
        elif value in ("", [], {}) and where not in MAY_BE_EMPTY:
            yield f"header field {where} is empty: fill it in."
    if head.get("slug") != chapter.slug:
        yield f"header slug is {head.get('slug')!r}, but the file is {chapter.slug}.py: make them equal."
    if head.get("part") != chapter.part or chapter.part not in PARTS:
        parts = ", ".join(PARTS)
        yield f"header part is {head.get('part')!r}, the folder {chapter.part!r}: both must be the same one of {parts}."
    if isinstance(head.get("full"), dict) and head["full"].get("device") not in ("cpu", "cuda"):
        yield "header field full.device must be cpu or cuda."


def opening(chapter: Chapter) -> Iterator[str]:
    """The first four cells: title, setup, parameters, and the call of `start`."""
    cells = chapter.notebook.cells[:4]
    title, setup, parameters, start = cells if len(cells) == 4 else [None] * 4
    if title is None:
        yield "the chapter must open with four cells: title, setup, parameters, and the one that calls start."
        return
    if title.cell_type != "markdown" or not title.source.startswith("# "):
        yield "the first cell must be Markdown that starts with `# Title`."
    elif title.source.splitlines()[0] != f"# {chapter.header.get('title')}":
        yield f"the first line must be the header's title: `# {chapter.header.get('title')}`."
    if "](http" not in title.source:
        yield "the first cell must link the paper, e.g. [Authors (year)](https://arxiv.org/abs/...)."
    if setup.metadata.get("tags") != ["setup", "hide-input"] or "".join(setup.source.split()) != "".join(SETUP.split()):
        tags = 'tags=["setup", "hide-input"]'
        yield f"the second cell must be the setup cell, word for word, with {tags}: copy it from another chapter."
    if "parameters" not in parameters.metadata.get("tags", []):
        yield 'the third cell must have tags=["parameters"].'
    for name, (kind, default, comments) in PARAMETERS.items():
        have = chapter.parameters.get(name)
        if have is None or (have.type, have.default) != (kind, default) or have.comment not in comments:
            value = f'"{default}"' if kind == "str" else default
            yield f"the parameters cell needs the line `{name}: {kind} = {value}  # {comments[0]}`."
    for parameter in chapter.parameters.values():
        if not parameter.type or not parameter.comment:
            yield f"parameter {parameter.name} needs a type and a comment: `{parameter.name}: int = 3  # what it is`."
    if start.cell_type != "code" or not re.search(r"\bstart\(", start.source):
        yield "the fourth cell must call start(...), so that a bad parameter stops the chapter there."


def headings(cells: list) -> Iterator[str]:
    """Level-2 headings: these, all of them, in this order."""
    have = [title for cell in cells for title in titles(cell)]
    if have != list(HEADINGS):
        missing = [h for h in HEADINGS if h not in have]
        what = f"{', '.join(missing)} missing" if missing else f"got {', '.join(have)}"
        yield f"the level-2 headings must be {', '.join(HEADINGS)}, in this order ({what})."


def claims(cells: list) -> Iterator[str]:
    """At least four claims, one exact or bound, each with its subsection; one verdict cell."""
    found = {}
    for call in calls(section(cells, "Claims")):
        name, values = ast.unparse(call.func), {k.arg: k.value for k in call.keywords}
        if name in ("Claim", "Claim.effect"):
            id = values.get("id", call.args[0] if call.args else None)
            kind = values.get("kind", call.args[1] if len(call.args) > 1 else None)
            found[getattr(id, "value", None)] = "effect" if name == "Claim.effect" else getattr(kind, "value", None)
    if len(found) < 4:
        yield f"## Claims must state at least four claims as Claim(id=..., kind=..., ...), found {len(found)}."
    if not {"exact", "bound"} & set(found.values()):
        yield 'at least one claim must be of kind "exact" or "bound".'
    subsections = words(section(cells, "Experiments"))
    for id in found:
        if not re.search(rf"^### +(?:[\w, ]+\b)?{re.escape(str(id))}\b", subsections, re.M):
            yield f"claim {id} has no subsection under ## Experiments: add `### {id}: ...`."
    verdict = [cell for cell in section(cells, "Verdicts") if cell.cell_type == "code"]
    if len(verdict) != 1 or "nbval-check-output" not in verdict[0].metadata.get("tags", []):
        yield '## Verdicts must hold exactly one code cell, with tags=["nbval-check-output"].'


def code_cells(cells: list) -> Iterator[str]:
    """Cells that fit on a screen; figures with caption and alt text, one of them the thumbnail."""
    thumbnails = 0
    for number, cell in enumerate(cells, 1):
        if cell.cell_type != "code":
            continue
        lines = len(cell.source.splitlines())
        if lines > CELL_LINES:
            first = cell.source.splitlines()[0][:40]
            yield f"cell {number} ({first!r}) has {lines} lines, at most {CELL_LINES} are allowed: split it."
        if cached := re.search(r"^@(?:functools\.)?(?:lru_)?cache\b.*\ndef (\w+)", cell.source, re.M):
            yield f"{cached[1]} is cached, so it cannot travel to worker processes: move it to reprolib."
        for call in calls([cell]):
            if ast.unparse(call.func) != "figures.show":
                continue
            given = {k.arg: k.value for k in call.keywords}
            for name in ("caption", "alt"):
                if name not in given or getattr(given[name], "value", "x") in ("", None):
                    yield f"figures.show in cell {number} has no {name}: add {name}=..."
            thumbnails += isinstance(given.get("thumbnail"), ast.Constant) and given["thumbnail"].value is True
    if thumbnails != 1:
        yield f"exactly one figures.show must have thumbnail=True, found {thumbnails}."


def prose(cells: list) -> Iterator[str]:
    """Plain Markdown and maths: a chapter reads well in Colab, too."""
    for number, cell in enumerate(cells, 1):
        if cell.cell_type == "markdown" and (match := MYST.search(cell.source)):
            what = match[0].strip()[:40]
            yield f"cell {number} uses MyST syntax ({what!r}): write plain Markdown, Colab shows nothing else."


def symbols(cells: list) -> Iterator[str]:
    """A folded table says what each symbol means; the page shows it where a reader points at the symbol."""
    table = SYMBOLS.search(words(section(cells, "The idea")))
    rows = re.findall(r"^\| (\$.+?\$) \| .+ \|$", table[1], re.M) if table else []
    if len(rows) < 3:
        yield "## The idea must say what the symbols mean, in a folded table: copy its form from another chapter."
        return
    maths = "".join(words(cells).replace(table[0], "").split())
    for symbol in re.findall(r"\$(.+?)\$", " ".join(rows)):
        if "".join(symbol.split()) not in maths:
            yield f"the table of symbols explains ${symbol}$, which stands in no formula: leave it out."


def numbers(cells: list) -> Iterator[str]:
    """Equations and figures give their numbers, in order, and the prose names none that is not there."""
    text = words(cells)
    equations = [equation.strip() for equation in re.findall(r"\$\$(.+?)\$\$", text, re.S)]
    shown = [call for call in calls(cells) if ast.unparse(call.func) == "figures.show"]
    captions = [ast.unparse(k.value).lstrip("f'\"") for call in shown for k in call.keywords if k.arg == "caption"]
    for number, equation in enumerate(equations, 1):
        if not equation.endswith(rf" \tag{{{number}}}"):
            yield f"the equation {equation[:30]!r} must end with ` \\tag{{{number}}}`, its number."
    for number, caption in enumerate(captions, 1):
        if not caption.startswith(f"Figure {number}. "):
            yield f"the caption {caption[:30]!r} must begin with its number: `Figure {number}. `."
    last = {"equation": len(equations), "figure": len(captions)}
    for mention in MENTION.findall(text):
        kind, number = re.findall(r"\w+", mention.lower())
        if not 1 <= int(number) <= last[kind]:
            yield f"the prose names {mention}, which does not exist."


def try_it(cells: list) -> Iterator[str]:
    """Two or three questions; a solution is a code cell that runs with the chapter and is folded on its page."""
    for number, cell in enumerate(cells, 1):
        tags = cell.metadata.get("tags", ())
        if "solution" in tags and ("hide-cell" not in tags or cell not in section(cells, "Try it")):
            yield f"cell {number} is a solution: it belongs below Try it and needs the tag hide-cell, too."
    text = words(section(cells, "Try it"))
    questions = len(re.findall(r"^(?:[-*]|\d+\.) ", text, re.M))
    if questions not in (2, 3):
        yield f"## Try it must list two or three questions (as `1.` or `-` items), found {questions}."


def executed(chapter: Chapter) -> Iterator[Breach]:
    """The notebook that the reader gets: its size, its pictures, and nothing of the machine that made it."""
    path = chapter.target()
    if not path.exists():
        return  # `reprolib status` says so
    text = path.read_text(encoding="utf-8")
    where, rerun, size = "the executed notebook", f"then `reprolib run --force {chapter.slug}`", path.stat().st_size
    if size > NOTEBOOK_BYTES:
        yield Breach(f"{where} has {size / 1e6:.1f} MB, at most 1.5 MB are allowed: show fewer figures, {rerun}.")
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        for output in cell.get("outputs", []):
            data = {k: "".join(v) for k, v in output.get("data", {}).items() if isinstance(v, str | list)}
            shown = "".join(output.get("text", "")) + "".join(v for k, v in data.items() if k.startswith("text/"))
            if output.get("name") == "stderr":
                said = shown.strip()[:60]
                yield Breach(f"{where} shows stderr in cell {number} ({said!r}): cure the cause, {rerun}.")
            if match := machine_path(shown, chapter.root):
                yield Breach(f"{where} shows the machine path {match!r} in cell {number}: do not print it, {rerun}.")
            if "image/png" in data:
                yield from picture(data["image/png"], output, f"the figure of cell {number}")


def picture(png: str, output: dict, name: str) -> Iterator[Breach]:
    """A figure's weight and its alt text."""
    size = len(base64.b64decode(png))
    if size > PNG_WARN:
        limit = f"about {PNG_WARN // 1000} kB is the aim, {PNG_FAIL // 1000} kB the limit"
        text = f"{name} has {size / 1000:.0f} kB ({limit}): draw fewer marks or make it smaller."
        yield Breach(text, warning=size <= PNG_FAIL)
    if not output.get("metadata", {}).get("image/png", {}).get("alt"):
        yield Breach(f"{name} has no alt text: display it with figures.show(fig, caption=..., alt=...).")


def machine_path(text: str, root: Path) -> str | None:
    """Return the first path in `text` that exists only on the machine that made it."""
    own = [str(p) for p in (root, Path.home(), sys.prefix) if len(Path(p).parts) > 1 and str(p) in text]
    match = MACHINE_PATH.search(text)
    return own[0] if own else match[0] if match else None


def section(cells: list, heading: str) -> list:
    """Return the cells between this level-2 heading and the next; a Markdown cell is cut to the part that belongs."""
    inside, found = False, []
    for cell in cells:
        if cell.cell_type == "code":
            found += [cell] if inside else []
            continue
        before, *pieces = re.split(r"^## +(.+?) *$", cell.source, flags=re.M)  # text, then title, text, title, ...
        text = before if inside else ""
        for title, piece in zip(pieces[::2], pieces[1::2], strict=True):
            inside = title == heading
            text += piece if inside else ""
        found += [new_markdown_cell(text)] if text else []
    return found


def words(cells: list) -> str:
    """Return the text of the Markdown cells."""
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def titles(cell: dict) -> list[str]:
    """Return the level-2 headings of a Markdown cell."""
    return re.findall(r"^## +(.+?) *$", cell.source, re.M) if cell.cell_type == "markdown" else []


def calls(cells: list) -> Iterator[ast.Call]:
    """Yield every call in the code cells."""
    for cell in cells:
        if cell.cell_type == "code":
            yield from (node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call))
