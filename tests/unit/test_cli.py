"""The command line: every mistake has one sentence and exit code 2, and nothing is executed or overwritten."""

import json

import pytest
from typer.testing import CliRunner

from reprolib.cli import app

ROWS = [{"id": f"C{i}", "verdict": word} for i, word in enumerate(["reproduced", "reproduced", "not reproduced"])]


def call(*args):
    return CliRunner().invoke(app, [*args])


def executed(chapter, scale="small"):
    """Put a fresh notebook with verdicts where a run would."""
    from reprolib.book import digest

    parts = chapter.parts(scale)
    meta = {"slug": chapter.slug, "scale": scale, "digest": digest.combine(parts), "parts": parts, "seconds": 12.3}
    output = {"output_type": "display_data", "data": {}, "metadata": {"reprolib": {"claims": ROWS}}}
    path = chapter.target(scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [{"outputs": [output]}], "metadata": {"reprolib": meta}}))
    return path


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["run", "tinny"], "no chapter 'tinny': did you mean tiny?"),
        (["run", "zzz"], "no chapter 'zzz': the chapters are tiny."),
        (["status", "tinny"], "did you mean tiny?"),
        (["check", "tinny"], "did you mean tiny?"),
        (["run", "--scale", "medium"], "scale must be 'small' or 'full', got 'medium'."),
        (["run", "--seed", "-1"], "seed must be a non-negative integer, got '-1'."),
        (["run", "--seed", "1.5"], "seed must be a non-negative integer, got '1.5'."),
        (["run", "--seed", "one"], "seed must be a non-negative integer, got 'one'."),
        (["run", "-p", "device=tpu"], "device must be 'auto', 'cpu' or 'cuda', got 'tpu'."),
        (["run", "-p", "device=cuda"], "torch sees no GPU here: use device=cpu or device=auto."),
        (["run", "-p", "depth=3"], "chapter tiny has no parameter 'depth': its parameters are scale, seed,"),
        (["run", "-p", "size"], "a parameter is given as -p name=value, got 'size'."),
        (["run", "-p", "seed=1"], "use --seed"),
        (["run", "--backend", "dask"], "as in --backend dask --address tcp://host:8786."),
        (["run", "--address", "tcp://127.0.0.1:8786"], "as in --backend dask --address tcp://host:8786."),
        (["runs", "--clear", "tinny"], "did you mean tiny?"),
        (["audit", "tinny"], "did you mean tiny?"),
        (["seeds", "tinny"], "did you mean tiny?"),
        (["seeds", "tiny", "--seeds", "one"], "seeds are non-negative integers, as in --seeds 1 2 3, got 'one'."),
    ],
)
def test_a_mistake_is_answered_by_one_sentence_and_nothing_runs(book, monkeypatch, args, sentence):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = executed(book.add("tiny", "print(1)"))
    path.write_text("the good notebook")
    result = call(*args)
    assert result.exit_code == 2 and sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and not result.stdout
    assert book.files() == ["book/notebooks/variance/tiny.ipynb"] and path.read_text() == "the good notebook"


def test_a_chapter_without_parameters_cell_is_answered_by_one_sentence(book):
    book.add("tiny", "print(1)", parameters="")
    result = call("run")
    assert result.exit_code == 2 and "has no parameters cell: add one" in result.stderr and book.files() == []


@pytest.mark.parametrize("command", ["list", "run", "status", "check"])
def test_outside_the_book_every_command_says_where_to_go(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPROLIB_ROOT", raising=False)
    result = call(command)
    assert result.exit_code == 2 and "this is not the book's folder" in result.stderr
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("REPROLIB_ROOT", str(tmp_path))
    assert "REPROLIB_ROOT names no folder of the book" in call(command).stderr


def test_the_book_is_found_from_a_folder_within_it_and_by_its_variable(book, monkeypatch, tmp_path):
    executed(book.add("tiny"))
    monkeypatch.chdir(book.root / "chapters" / "variance")
    assert call("status").exit_code == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPROLIB_ROOT", str(book.root))
    assert call("status").exit_code == 0


def test_a_run_shows_a_summary_and_the_second_one_has_nothing_to_do(book):
    book.add("tiny", "print(1)")
    first = call("run")
    assert first.exit_code == 0 and "book/notebooks/variance/tiny.ipynb" in first.stdout
    second = call("run", "tiny")
    assert second.exit_code == 0 and "1 of 1 fresh already" in second.stdout


def test_a_failing_chapter_shows_its_cell_and_traceback_and_exits_with_1(book):
    book.add("good", "print(1)")
    book.add("bad", "value = 1\nraise RuntimeError('no luck')")
    result = call("run", "--jobs", "2")
    assert result.exit_code == 1
    assert "raise RuntimeError('no luck')" in result.stderr and "Traceback" in result.stderr
    assert "_build/failed/bad.ipynb" in result.stderr
    assert "good: done" in result.stdout and "bad: failed" in result.stdout


def test_status_fails_on_stale_and_missing_small_notebooks_and_names_the_command(book):
    executed(book.add("one"))
    executed(book.add("two"))
    assert call("status").exit_code == 0
    book.add("two", "print('changed')")
    book.add("three")
    result = call("status")
    assert result.exit_code == 1
    assert "source changed" in result.stdout and "missing" in result.stdout
    assert "reprolib run three two" in result.stdout
    assert call("status", "one").exit_code == 0


def test_an_old_full_record_is_a_notice_and_no_failure(book):
    executed(book.add("tiny"), "full")
    chapter = book.add("tiny", "print('changed')")
    executed(chapter)
    result = call("status")
    assert result.exit_code == 0 and "recorded before: source changed" in result.stdout


def test_list_shows_papers_seconds_and_verdict_counts(book):
    executed(book.add("tiny"))
    result = call("list")
    assert result.exit_code == 0
    for shown in ("tiny", "On tiny things (2023)", "variance", "12 s", "2 reproduced, 1 not reproduced", "not run"):
        assert shown in result.stdout


def test_an_empty_book_is_no_error(book):
    for command in ("list", "run", "status", "check"):
        assert call(command).exit_code == 0


@pytest.mark.parametrize("command", ["list", "run", "status", "check"])
def test_help_explains_every_command_and_its_options(command):
    result = call(command, "--help")
    assert result.exit_code == 0 and command in result.stdout
    assert command in call("--help").stdout


def test_runs_shows_and_clears_what_is_stored(book):
    from reprolib.store import Row, Store

    book.add("tiny", "print(1)")
    assert "No trials are stored" in call("runs").stdout
    with Store("tiny", "trial", "abc", book.root / "_build" / "store") as store:
        store.plan([({"lr": 0.1}, 1), ({"lr": 0.1}, 2)])
        assert "0 of 2" in call("runs").stdout
        store.save({"lr": 0.1}, 1, Row({"loss": 1.0}, 2.0, "here"))
    assert "1 of 2" in call("runs").stdout
    assert "1 stored trials of tiny" in call("runs", "--clear", "tiny").stdout
    assert "No trials are stored" in call("runs").stdout


def test_an_audit_without_records_has_nothing_to_compare(book):
    book.add("tiny", "print(1)")
    result = call("audit", "--seed", "1")
    assert result.exit_code == 0 and "0 recorded trials agree" in result.stdout


def test_seeds_show_which_verdicts_another_base_seed_changes(book):
    verdict = """from IPython.display import display
display({"text/plain": "table"}, raw=True, metadata={"reprolib": {"claims": [
    {"id": "C1", "verdict": "reproduced"},
    {"id": "C2", "verdict": ["reproduced", "reproduced", "partly"][seed], "fragile": seed == 1},
]}})"""
    book.add("tiny", verdict)
    assert call("run", "tiny").exit_code == 0
    result = call("seeds", "tiny", "--seeds", "1", "2")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["tiny", "C1", *["reproduced"] * 3] in lines
    assert ["tiny", "C2", "reproduced", "reproduced", "(fragile)", "partly"] in lines
    assert "1 of 4 verdicts differ from the book's." in result.stdout


def test_seeds_show_no_verdict_of_an_earlier_run_where_the_run_of_now_failed(book):
    verdict = """from IPython.display import display
assert not fails or seed != 1
display({"text/plain": "table"}, raw=True, metadata={"reprolib": {"claims": [{"id": "C1", "verdict": "partly"}]}})"""
    book.add("tiny", "fails = False", verdict)
    assert call("run", "tiny").exit_code == 0 and call("seeds", "tiny", "--seeds", "1").exit_code == 0
    book.add("tiny", "fails = True", verdict)
    result = call("seeds", "tiny", "--seeds", "1")
    assert result.exit_code == 1
    assert ["tiny", "C1", "partly", "failed"] in [line.split() for line in result.stdout.splitlines()]
