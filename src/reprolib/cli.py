"""The command line: ``reprolib list | run | status | check | seeds | runs | audit``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from reprolib.book.chapter import Chapter, Executed, Mistake, chapters, project_root

app = typer.Typer(
    name="reprolib",
    help="Run and check the chapters of [bold]Where Learning Starts[/bold].",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
WIDE = None if sys.stdout.isatty() else 140  # a log has no window that tables must fit
out, err = Console(highlight=False, width=WIDE), Console(stderr=True, highlight=False)
Slugs = Annotated[list[str] | None, typer.Argument(metavar="[SLUG]...", help="Chapters; all of them when left out.")]


@contextmanager
def mistakes() -> Iterator[None]:
    """Answer a user's mistake with its sentence and exit code 2."""
    try:
        yield
    except Mistake as mistake:
        err.print(Text(str(mistake), style="red"), soft_wrap=True)
        raise typer.Exit(2) from None


@app.command("list")
def list_() -> None:
    """Show every chapter: its paper, its part, what each scale takes and which verdicts it gave."""
    with mistakes():
        table = Table("Chapter", "Paper", "Part", "Small", "Verdicts", "Full", "Verdicts", box=None)
        for chapter in chapters():
            small, full = chapter.executed("small"), chapter.executed("full")
            paper, needs = chapter.header.get("paper", {}), chapter.header.get("full", {})
            estimate = f"not run ({needs.get('device', '?')}, ~{needs.get('minutes', '?')} min)"
            table.add_row(
                chapter.slug, f"{paper.get('title', '')} ({paper.get('year', '?')})", chapter.part,
                _seconds(small) or "not run", _verdicts(small), _seconds(full) or estimate, _verdicts(full),
            )  # fmt: skip
    out.print(table)


@app.command()
def status(slugs: Slugs = None) -> None:
    """Show which notebooks are fresh, stale or missing, and why. Exit code 1 when a small one is not fresh."""
    with mistakes():
        table, behind = Table("Chapter", "Small", "Full", box=None), []
        for chapter in chapters(slugs=slugs or ()):
            small, full = chapter.freshness("small"), chapter.freshness("full")
            if small.state != "fresh":
                behind.append(chapter.slug)
            color = {"fresh": "green", "stale": "yellow", "missing": "red"}[small.state]
            recorded = {"fresh": "recorded", "missing": "not recorded"}.get(full.state, f"recorded before: {full.why}")
            table.add_row(chapter.slug, Text(f"{small.state}  {small.why}".strip(), style=color), recorded)
    out.print(table)
    if behind:
        out.print(f"\n{len(behind)} to run: [bold]reprolib run {' '.join(behind)}[/bold]", soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def check(slugs: Slugs = None) -> None:
    """Hold chapters against the contract of the book. Exit code 1 when one breaks it."""
    from reprolib.book.contract import breaches

    with mistakes():
        found = {chapter.slug: breaches(chapter) for chapter in chapters(slugs=slugs or ())}
    for slug, items in found.items():
        for breach in items:
            label = Text("warning" if breach.warning else "breach", style="yellow" if breach.warning else "red")
            out.print(Text(f"{slug}: ") + label + Text(f" {breach.text}"), soft_wrap=True)
    broken = [slug for slug, items in found.items() if any(not b.warning for b in items)]
    out.print(f"{len(found) - len(broken)} of {len(found)} chapters keep the contract.")
    raise typer.Exit(1 if broken else 0)


@app.command()
def run(
    slugs: Slugs = None,
    scale: Annotated[str, typer.Option(help="small (60 s on one core) or full (see `reprolib list`).")] = "small",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Chapters at once. Default: the cores at small, one at full.")
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Base seed, a non-negative integer.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Another one; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run what is fresh, too.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Walk the whole path with two steps; results go to _build/dry.")
    ] = False,
    backend: Annotated[str | None, typer.Option(help="joblib's backend for trials: loky, dask, ...")] = None,
    address: Annotated[str | None, typer.Option(help="The dask scheduler's, as in tcp://host:8786.")] = None,
) -> None:
    """Execute the chapters that are stale. With other than the default parameters, results go to _build/runs."""
    from reprolib.book import run as engine

    with mistakes():
        if backend == "dask" and not address or address and backend != "dask":
            raise Mistake("a cluster is named by both, as in --backend dask --address tcp://host:8786.")
        for variable, value in (("REPROLIB_BACKEND", backend), ("REPROLIB_ADDRESS", address)):
            if value:
                os.environ[variable] = value  # each kernel connects itself
        parameters = _parameters(parameter or []) | {"scale": scale} | ({"dry_run": True} if dry_run else {})
        if seed is not None:
            parameters["seed"] = int(seed) if seed.strip().isdigit() else seed
        wanted = chapters(slugs=slugs or ())
        todo = engine.plan(wanted, parameters, force)
    if len(todo) < len(wanted):
        out.print(f"{len(wanted) - len(todo)} of {len(wanted)} fresh already (--force runs them again).")
    if not todo:
        return
    workers = min(jobs or (1 if scale == "full" else os.cpu_count() or 1), len(todo))
    failed = [result for result in _watch(engine, todo, workers) if result.error]
    for result in failed:
        _explain(result)
    raise typer.Exit(1 if failed else 0)


@app.command()
def seeds(
    slugs: Slugs = None,
    seeds: Annotated[str, typer.Option(metavar="SEED...", help="Other base seeds, such as 1 2 3.")] = "1 2 3",
    jobs: Annotated[int | None, typer.Option(min=1, help="Chapters at once. Default: the cores.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run what is fresh, too.")] = False,
) -> None:
    """Run chapters at small scale with other base seeds and record in book/seeds.json how the verdicts change."""
    from reprolib.book import run as engine
    from reprolib.book import seeds as report

    with mistakes():
        # `--seeds 1 2 3` reads like a list, but an option takes one word: the others arrive as arguments.
        words = [*seeds.replace(",", " ").split(), *(word for word in slugs or () if word.isdigit())]
        if not all(word.isdigit() for word in words):
            raise Mistake(f"seeds are non-negative integers, as in --seeds 1 2 3, got {seeds!r}.")
        numbers = list(dict.fromkeys(map(int, words)))
        wanted = chapters(slugs=[word for word in slugs or () if not word.isdigit()])
        plans = [engine.plan(wanted, {"seed": seed}, force) for seed in numbers]
    cores = jobs or os.cpu_count() or 1
    results = [r for todo in plans if todo for r in _watch(engine, todo, min(cores, len(todo)))]
    failed = [result for result in results if result.error]
    table = Table("Chapter", "Claim", "Book", *(f"Seed {seed}" for seed in numbers), box=None)
    total = changed = 0
    for chapter in wanted:
        done = chapter.executed()
        book = _by_claim(done)
        others = [_by_claim(_seeded(engine, chapter, seed)) for seed in numbers]
        words = {id: {s: o[id][0] for s, o in zip(numbers, others, strict=True) if id in o} for id in book}
        if book:
            report.record(chapter.root, chapter.slug, report.code(chapter.source, done.claims), words)
        for id, (verdict, shown) in book.items():
            row = [other.get(id, ("failed", "failed")) for other in others]
            total, changed = total + len(row), changed + sum(word != verdict for word, _ in row)
            cells = [Text(text, style="" if word == verdict else "yellow") for word, text in row]
            table.add_row(chapter.slug, id, shown, *cells)
    out.print(table)
    out.print(f"{changed} of {total} verdicts differ from the book's.")
    for result in failed:
        _explain(result)
    raise typer.Exit(1 if failed else 0)


@app.command()
def runs(
    clear: Annotated[str | None, typer.Option(metavar="SLUG", help="Remove this chapter's stored trials.")] = None,
) -> None:
    """Show which trials of full runs are stored, so that a run goes on where it stopped; or remove some."""
    from reprolib import store

    with mistakes():
        folder = project_root() / "_build" / "store"
        try:
            if clear:
                [chapter] = chapters(slugs=[clear])
                out.print(f"{store.clear(chapter.slug, folder)} stored trials of {chapter.slug} were removed.")
                return
            stored = store.runs(folder)
        except store.StoreError as error:
            raise Mistake(str(error)) from error
    if stored.empty:
        out.print("No trials are stored: full runs put them there as they finish.")
        return
    table = Table("Chapter", "Trial", "Code", "Done", "Seconds", "Last (UTC)", "Host", box=None)
    for row in stored.itertuples():
        done = f"{row.done} of {row.total}"
        table.add_row(row.slug, row.trial, row.science[:7], done, f"{row.seconds:.0f}", row.finished, row.host)
    out.print(table)


@app.command()
def audit(
    slugs: Slugs = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="For all chapters together.")] = 10,
    seed: Annotated[int | None, typer.Option(min=0, help="Draw this sample again. Default: a fresh one.")] = None,
) -> None:
    """Compute a random sample of recorded full-scale trials again and compare. Exit code 1 when one differs."""
    from reprolib.book import audit as audits

    with mistakes():
        wanted = chapters(slugs=slugs or ())
    found = audits.audit(wanted, minutes, seed)
    for notice in found.notices:
        out.print(Text(f"notice: {notice}", style="yellow"), soft_wrap=True)
    for failure in found.failures:
        err.print(Text(f"failed: {failure}", style="red"), soft_wrap=True)
    out.print(f"{found.agreed} recorded trials agree; the largest relative difference is {found.worst:.1g}.")
    raise typer.Exit(1 if found.failures else 0)


def _watch(engine, todo: list, workers: int) -> list:
    """Run the jobs under a progress display, print the summary and return the results."""
    results = []
    columns = [
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("cells"),
        TimeElapsedColumn(), TextColumn("{task.fields[line]}", style="dim"),
    ]  # fmt: skip
    with Progress(*columns, console=out, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def report(chapter: Chapter, done: int, total: int, line: str) -> None:
            if chapter.slug not in tasks:
                tasks[chapter.slug] = progress.add_task(chapter.slug, total=total, line="")
            progress.update(tasks[chapter.slug], completed=done, total=total, line=line[-60:])

        for result in engine.run(todo, workers, report):
            results.append(result)
            if result.chapter.slug in tasks:
                progress.remove_task(tasks[result.chapter.slug])
            mark = "[red]failed[/red]" if result.error else "[green]done[/green]"
            where = result.path.relative_to(result.chapter.root).as_posix()
            count = f"({len(results)} of {len(todo)})"
            out.print(f"{result.chapter.slug}: {mark} in {result.seconds:.1f} s {count}: {where}", soft_wrap=True)
    table = Table("Chapter", "Result", "Seconds", "Peak MB", "Verdicts", box=None)
    for r in results:
        verdicts = "" if r.error else _verdicts(r.chapter.executed(path=r.path))
        table.add_row(r.chapter.slug, r.error or "done", f"{r.seconds:.1f}", f"{r.peak_mb:.0f}", verdicts)
    out.print(table)
    return results


def _explain(result) -> None:
    """Show the cell that failed, its traceback and where the partial notebook is."""
    err.rule(f"{result.chapter.slug}: the cell that failed", style="red")
    err.print(Syntax(result.cell, "python", word_wrap=True))
    err.print(Text.from_ansi(result.traceback))
    kept = result.path.relative_to(result.chapter.root).as_posix()
    err.print(f"As far as it got: {kept}. The last good notebook was left as it was.", soft_wrap=True)


def _parameters(pairs: list[str]) -> dict[str, Any]:
    import yaml

    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise Mistake(f"a parameter is given as -p name=value, got {pair!r}.")
        if name in ("scale", "seed", "dry_run"):
            raise Mistake(f"{name} has an option of its own: use --{name.replace('_', '-')}.")
        found[name] = yaml.safe_load(value)
    return found


def _seconds(done: Executed | None) -> str:
    return f"{done.meta['seconds']:.0f} s" if done else ""


def _seeded(engine, chapter: Chapter, seed: int) -> Executed | None:
    """What the small run with this base seed gave, or None where the last one of the code of now failed."""
    changed = chapter.not_default({"seed": seed})
    path = engine.target(chapter, changed)
    return chapter.executed(path=path) if chapter.freshness("small", changed, path).state == "fresh" else None


def _by_claim(done: Executed | None) -> dict[str, tuple[str, str]]:
    """The verdict of every claim, and the same as it is shown."""
    rows = done.claims if done else []
    return {row["id"]: (row["verdict"], row["verdict"] + " (fragile)" * row.get("fragile", False)) for row in rows}


def _verdicts(done: Executed | None) -> str:
    counts = Counter(row["verdict"] for row in done.claims) if done else {}
    words = ("reproduced", "partly", "not reproduced")
    return ", ".join(f"{counts[word]} {word}" for word in words if counts.get(word))
