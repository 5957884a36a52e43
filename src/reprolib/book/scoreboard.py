"""What the book knows about its chapters, read from the executed notebooks and from nowhere else.

Headers, verdicts and measured seconds come out of notebook metadata, so the site, the command line and the
README can show only what a run has produced.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprolib.claims import NOT, PARTLY, REPRODUCED

SMALL, FULL = "book/notebooks", "book/full"
VERDICTS = {REPRODUCED: "●", PARTLY: "◐", NOT: "○"}  # words carry the meaning; the signs let the eye count
PARTS = {
    "variance": "Variance",
    "sequences": "Sequences",
    "inheritance": "Inheritance",
    "adaptation": "Adaptation",
    "optimization": "Optimization",
    "generalization": "Generalization",
    "robustness": "Robustness",
    "generation": "Generation",
}


@dataclass(frozen=True)
class Executed:
    """One executed notebook: where it is, how it was run, and what it found.

    Attributes:
        path: the notebook, relative to the project's root.
        header: the chapter's header as the chapter's author wrote it.
        run: provenance: scale, seconds, peak_mb, cpu, versions, commit, date.
        claims: the rows of the verdict table, as `reprolib.claims.Verdicts.as_dict` gives them.
        thumbnail: the figure that stands for the chapter, as PNG, or None.
        dark: the same on dark paper, or None.
        alt: what a person who cannot see the thumbnail should know.
    """

    path: Path
    header: Mapping[str, Any]
    run: Mapping[str, Any]
    claims: list[dict]
    thumbnail: bytes | None
    dark: bytes | None
    alt: str

    @property
    def docname(self) -> str:
        """The page's name on the site."""
        return self.path.with_suffix("").as_posix()

    @property
    def tally(self) -> dict[str, int]:
        """Number of claims by verdict word, every word present."""
        return tally(claim["verdict"] for claim in self.claims)


@dataclass(frozen=True)
class Chapter:
    """One paper: its small run, and its full run where one was recorded."""

    slug: str
    part: str
    small: Executed
    full: Executed | None

    @property
    def header(self) -> Mapping[str, Any]:
        return self.small.header

    @property
    def title(self) -> str:
        return self.header["title"]


def read(root: Path, path: Path) -> Executed:
    """Read one executed notebook.

    Args:
        root: the project's root.
        path: the notebook, below `root`.

    Raises:
        ValueError: the file is no notebook of a chapter; the message names it.
    """
    where = path.relative_to(root)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        metadata, cells = notebook["metadata"], notebook["cells"]
        header = {"title": metadata["chapter"]["slug"], "summary": "", **metadata["chapter"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{where} is no executed chapter: {error!r}.") from error
    claims, thumbnail, dark, alt = [], None, None, ""
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        ours = output.get("metadata", {}).get("reprolib", {})
        claims = ours.get("claims", claims)
        if ours.get("thumbnail"):
            picture = output["data"]["image/png"]
            thumbnail = base64.b64decode(picture if isinstance(picture, str) else "".join(picture))
            dark = base64.b64decode(ours["dark"]) if "dark" in ours else None
            alt = output["metadata"]["image/png"]["alt"]
    return Executed(where, header, metadata.get("reprolib", {}), claims, thumbnail, dark, alt)


def chapters(root: Path | str = ".") -> list[Chapter]:
    """Read every executed chapter below `root`: parts in the book's order, chapters in the order of `_toc.yml`."""
    root = Path(root)
    toc = root / "_toc.yml"
    order = re.findall(rf"{SMALL}/\S+", toc.read_text(encoding="utf-8")) if toc.is_file() else []
    found = []
    for path in sorted((root / SMALL).glob("*/*.ipynb")):
        small, full = read(root, path), root / FULL / path.parent.name / path.name
        found.append(Chapter(path.stem, path.parent.name, small, read(root, full) if full.is_file() else None))
    parts = list(PARTS)

    def place(chapter: Chapter) -> tuple:
        part = parts.index(chapter.part) if chapter.part in parts else len(parts)
        name = chapter.small.docname
        return part, chapter.part, order.index(name) if name in order else len(order), name

    return sorted(found, key=place)


def related(chapter: Chapter, book: Sequence[Chapter], most: int = 3) -> list[tuple[Chapter, str]]:
    """Return the chapters that a reader of `chapter` may want next, each with the reason.

    Those of its part come first, then those that use the same modules of reprolib; a module that many use counts
    little, and one that more than half of them use not at all.
    """

    def modules(one: Chapter) -> set[str]:
        return {name for name in one.small.run.get("parts", ()) if name.startswith("reprolib.")}

    users = Counter(name for one in book for name in modules(one))
    found = []
    for other in book:
        shared = {name for name in modules(chapter) & modules(other) if users[name] <= len(book) / 2}
        same_part = other.part == chapter.part
        if other is not chapter and (shared or same_part):
            rarest = min(shared, key=lambda name: (users[name], name), default="").removeprefix("reprolib.")
            weight = sum(1 / users[name] for name in shared)
            found.append((not same_part, -weight, other.title, other, "same part" if same_part else f"shares {rarest}"))
    return [(other, why) for *_, other, why in sorted(found, key=lambda row: row[:3])[:most]]


def rows(book: Iterable[Chapter]) -> list[dict[str, Any]]:
    """Return one plain row a claim, with its verdict at both scales (None where that run was not made)."""
    table = []
    for chapter in book:
        small = {claim["id"]: claim for claim in chapter.small.claims}
        full = {claim["id"]: claim for claim in chapter.full.claims} if chapter.full else {}
        for id, claim in (small | full).items():
            table.append(
                {
                    "part": chapter.part,
                    "slug": chapter.slug,
                    "title": chapter.title,
                    "id": id,
                    "kind": claim["kind"],
                    "statement": claim["statement"],
                    "small": small.get(id, {}).get("verdict"),
                    "full": full.get(id, {}).get("verdict"),
                    "small here": headline(small.get(id)),
                    "full here": headline(full.get(id)),
                    "small margin": margin(small.get(id)),
                    "full margin": margin(full.get(id)),
                    "needed": (small | full)[id]["criteria"][0]["needed"],
                    "fragile": bool(small.get(id, {}).get("fragile") or full.get(id, {}).get("fragile")),
                    "seconds": chapter.small.run.get("seconds"),
                    "device": (chapter.header.get("full") or {}).get("device", "cpu"),
                }
            )
    return table


def headline(claim: Mapping | None) -> str:
    """Return the first criterion of a claim as text: what, its value, its interval or range."""
    if claim is None:
        return ""
    name, values = claim["criteria"][0]["name"], [claim[key] for key in ("value", "low", "high")]
    if None in values:
        return name
    value, low, high = (f"{value:.3g}" for value in values)
    return f"{name}: {value}" + (f" ({low} to {high})" if low != high else "")


def margin(claim: Mapping | None) -> dict[str, Any] | None:
    """Return how far a claim is on the right side of its thresholds, judged by the criterion that has the least room.

    The unit is the largest number in sight, and 0 is the threshold; a range of two ends counts from the nearer one, in
    halves of its width. What lies beyond -1 or 1 is shown there. ``room`` is what decides: a
    mean's or a median's own value, else the worst end. It is negative where the claim is not reproduced. None where
    there is nothing to compare.
    """
    found = [one for criterion in (claim or {}).get("criteria", ()) if (one := _room(criterion))]
    return min(found, key=lambda one: one["room"], default=None)


def _room(criterion: Mapping) -> dict[str, Any] | None:
    rule = re.search(r"([<>])=? (\S+)|in [\[(](\S+), (\S+)[\])]|= (\S+)", criterion["needed"])
    numbers = [criterion[key] for key in ("low", "value", "high")]
    if not rule or None in numbers:
        return None
    if rule[1]:
        end, sign = float(rule[2]), -1 if rule[1] == "<" else 1
        unit = max(abs(x) for x in (end, *numbers)) or 1
        low, value, high = (sign * (x - end) / unit for x in numbers)
    else:
        ends = [float(end) for end in (rule[3] or rule[5], rule[4] or rule[5])]
        if ends[0] == ends[1] and criterion["holds"]:  # a single allowed value leaves no room, and was met
            return {"name": criterion["name"], "room": 1.0, "low": 1.0, "value": 1.0, "high": 1.0}
        half = (ends[1] - ends[0]) / 2 or max(abs(ends[0]), 1)
        low, value, high = (min(x - ends[0], ends[1] - x) / half for x in numbers)
    low, value, high = (min(max(-1.0, x), 1.0) for x in (min(low, high), value, max(low, value, high)))
    room = value if criterion["statistic"] in ("mean", "median") else low
    return {"name": criterion["name"], "room": room, "low": low, "value": value, "high": high}


def tally(verdicts: Iterable[str | None]) -> dict[str, int]:
    """Count verdict words; words that do not occur count 0, None is skipped."""
    found = [verdict for verdict in verdicts if verdict]
    return {word: found.count(word) for word in VERDICTS}


def markdown(book: Iterable[Chapter]) -> str:
    """Return the scoreboard as a Markdown table, for the README."""
    lines = ["| Paper | Claim | Small | Full |", "|---|---|---|---|"]
    for row in rows(book):
        link = f"[{row['slug']}]({SMALL}/{row['part']}/{row['slug']}.ipynb)"
        verdicts = (f"{VERDICTS[row[scale]]} {row[scale]}" if row[scale] else "–" for scale in ("small", "full"))
        claim = f"{row['id']}: {row['statement']}".replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {link} | {claim} | {' | '.join(verdicts)} |")
    return "\n".join(lines) + "\n"
