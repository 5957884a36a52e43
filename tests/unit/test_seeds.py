"""The report of other base seeds."""

import json
from pathlib import Path

from reprolib.book import seeds
from reprolib.book.scoreboard import Chapter, Executed

SOURCE = "def trial(config, seed):\n    return {'x': seed}\n\nrows = sweep(trial, {}, [0])\n"


def chapter(words):
    claims = [{"id": id, "verdict": word, "needed": "mean > 0"} for id, word in words.items()]
    header = {"title": "A title"}
    return Chapter("tiny", "variance", Executed(Path("tiny.ipynb"), header, {}, claims, None, None, ""), None)


def book(root, source=SOURCE):
    path = root / "chapters" / "variance" / "tiny.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return [chapter({"C1": "reproduced", "C2": "partly"})]


def test_seeds_are_added_and_changes_counted(tmp_path):
    [tiny] = book(tmp_path)
    now = seeds.code(SOURCE, tiny.small.claims)
    seeds.record(tmp_path, "tiny", now, {"C1": {1: "reproduced"}, "C2": {1: "partly"}})
    seeds.record(tmp_path, "tiny", now, {"C1": {10: "reproduced", 2: "partly"}, "C2": {10: "partly", 2: "partly"}})
    [(_, entry)] = seeds.entries(tmp_path, [tiny])
    assert entry["seeds"] == [1, 2, 10] and not entry["outdated"]
    assert entry["rows"] == [
        ("C1", "reproduced", ["reproduced", "partly", "reproduced"], 1),
        ("C2", "partly", ["partly", "partly", "partly"], 0),
    ]


def test_prose_leaves_the_report_valid_and_another_trial_or_rule_does_not(tmp_path):
    [tiny] = book(tmp_path)
    seeds.record(tmp_path, "tiny", seeds.code(SOURCE, tiny.small.claims), {"C1": {1: "partly"}, "C2": {1: "partly"}})

    def outdated(source, chapter):
        book(tmp_path, source)
        [(_, entry)] = seeds.entries(tmp_path, [chapter])
        return entry["outdated"]

    assert not outdated("# Other words.\n" + SOURCE, tiny)
    assert outdated(SOURCE.replace("seed}", "seed + 1}"), tiny)
    tiny.small.claims[0]["needed"] = "mean > 1"
    assert outdated(SOURCE, tiny)


def test_verdicts_of_other_code_are_dropped(tmp_path):
    seeds.record(tmp_path, "tiny", "old", {"C1": {1: "partly", 2: "partly"}})
    seeds.record(tmp_path, "tiny", "new", {"C1": {3: "reproduced"}})
    report = json.loads((tmp_path / seeds.SEEDS).read_text())
    assert report == {"tiny": {"code": "new", "verdicts": {"C1": {"3": "reproduced"}}}}


def test_a_chapter_without_a_report_is_left_out(tmp_path):
    assert seeds.entries(tmp_path, book(tmp_path)) == []
