"""How verdicts fare at other base seeds: what `reprolib seeds` found, kept in ``book/seeds.json`` for the site."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reprolib.book import digest
from reprolib.book.scoreboard import Chapter
from reprolib.files import atomic

SEEDS = "book/seeds.json"  # slug -> code, verdicts (claim -> base seed -> word)


def code(source: str, claims: list[dict]) -> str:
    """Return the digest of what decides a verdict: the code of the trials and the rules of the claims."""
    return digest.combine(digest.sciences(source) | {claim["id"]: claim.get("needed", "") for claim in claims})


def read(root: Path | str = ".") -> dict[str, Any]:
    """Return the report, or an empty one where none was made."""
    path = Path(root) / SEEDS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def entries(root: Path, book: Iterable[Chapter]) -> list[tuple[Chapter, dict[str, Any]]]:
    """Return chapter -> its seeds, its rows (claim, the book's word, a word a seed, number of changes), and whether
    the code that decides has changed since."""
    report, found = read(root), []
    for chapter in (one for one in book if one.slug in report):
        entry, claims = report[chapter.slug], chapter.small.claims
        source = (root / "chapters" / chapter.part / f"{chapter.slug}.py").read_text(encoding="utf-8")
        numbers = sorted({int(seed) for row in entry["verdicts"].values() for seed in row})
        rows = []
        for claim in claims:
            words = [entry["verdicts"].get(claim["id"], {}).get(str(number)) for number in numbers]
            changes = sum(word not in (None, claim["verdict"]) for word in words)
            rows.append((claim["id"], claim["verdict"], words, changes))
        found.append((chapter, {"seeds": numbers, "rows": rows, "outdated": code(source, claims) != entry["code"]}))
    return found


def record(root: Path, slug: str, now: str, found: Mapping[str, Mapping[int, str]]) -> None:
    """Add verdicts of one chapter to the report; those of other code are dropped.

    Args:
        root: the project's root.
        slug: the chapter.
        now: its `code`.
        found: claim -> base seed -> verdict word.
    """
    report = read(root)
    before = report.get(slug, {})
    kept = before["verdicts"] if before.get("code") == now else {}
    merged = {id: {**kept.get(id, {}), **{str(s): word for s, word in row.items()}} for id, row in found.items()}
    ordered = {id: dict(sorted(row.items(), key=lambda item: int(item[0]))) for id, row in merged.items()}
    report[slug] = {"code": now, "verdicts": ordered}
    with atomic(root / SEEDS) as path:
        path.write_text(json.dumps(dict(sorted(report.items())), indent=1) + "\n", encoding="utf-8")
