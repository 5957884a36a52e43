"""A run keeps what succeeded, and nothing that is half-written, stale or another run's."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import nbformat
import pandas as pd
import psutil
import pytest

from reprolib.book import kernels
from reprolib.book import run as engine
from reprolib.book.chapter import Mistake

RECORD = "import os, pandas as pd\npd.DataFrame({{'seconds': {}}}).to_parquet(os.environ['REPROLIB_RECORD'])"
RUN = [sys.executable, "-c", "from reprolib.cli import app; app()", "run", "--jobs", "1"]
QUIET = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
both = pytest.mark.parametrize("others", [0, 2], ids=["alone", "among others, as a copy"])


def once(chapter, force=False, workers=1, **parameters):
    """Run one chapter and return its result, or None where it was fresh."""
    return next(engine.run(engine.plan([chapter], parameters, force), workers), None)


def outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in notebook.cells if c.cell_type == "code" for o in c.outputs)


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.05)
    return path.read_text()


def listen():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it


def alive(pid):
    with suppress(psutil.NoSuchProcess):  # it may end between two looks
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait_for_end(*pids, seconds):
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        assert time.monotonic() < end, "a kernel outlives its run"
        time.sleep(0.05)


def test_a_good_chapter_gives_a_notebook_with_outputs_and_provenance(book):
    chapter = book.add(
        "tiny", "import numpy\nprint('size is', size)", "block = bytearray(200_000_000)\nimport time; time.sleep(1)"
    )
    result = once(chapter)
    assert not result.error and result.path == chapter.target()
    assert "size is 3" in outputs(result.path)
    meta = chapter.executed().meta
    assert {"slug": "tiny", "scale": "small", "parameters": {}, "commit": ""}.items() <= meta.items()
    assert meta["peak_mb"] > 200 and 1 < meta["seconds"] < 60
    assert {"python", "numpy"} <= set(meta["versions"]) and "time" not in meta["versions"]
    assert chapter.freshness().state == "fresh"
    assert once(chapter) is None  # nothing to do
    assert book.files() == ["book/notebooks/variance/tiny.ipynb"]


def test_two_runs_differ_in_nothing_but_the_measured_provenance(book):
    texts = []
    for _ in range(2):
        chapter = book.add(
            "tiny", "print({'a', 'b', 'c', 'd'})", "from tqdm import tqdm\nfor _ in tqdm(range(9)): pass"
        )
        notebook = json.loads(once(chapter, force=True).path.read_text())
        for measured in ("seconds", "peak_mb", "date"):
            del notebook["metadata"]["reprolib"][measured]
        texts.append(json.dumps(notebook))
    assert texts[0] == texts[1]
    assert "papermill" not in texts[0] and str(book.root) not in texts[0]


def test_progress_bars_are_taken_out_and_warnings_are_kept(book):
    cell = "import sys\nfrom tqdm import tqdm\nfor _ in tqdm(range(3), desc='a', unit='trial'): pass\n"
    path = once(book.add("tiny", cell, cell + "print('a real warning', file=sys.stderr)")).path
    first, second = [c.outputs for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"][1:]
    assert first == [] and second[0].text == "a real warning\n"


def test_lines_that_a_progress_bar_came_between_are_one_output(book):
    bar = "for i in tqdm(range(2)): print(i, flush=True); time.sleep(0.2)"
    path = once(book.add("tiny", "import time\nfrom tqdm import tqdm\n" + bar)).path
    (only,) = nbformat.read(path, as_version=4).cells[-1].outputs
    assert only.text == "0\n1\n"


def test_a_kernel_that_is_done_is_not_waited_for(book, tmp_path):
    late = tmp_path / "late"
    chapter = book.add("tiny", f"import atexit, pathlib\natexit.register(pathlib.Path({str(late)!r}).touch)")
    assert not once(chapter).error
    time.sleep(1)
    assert not late.exists()


def test_a_kernel_that_is_a_copy_differs_in_nothing_from_one_of_its_own(book, monkeypatch):
    monkeypatch.setenv("MARK", "as in the run")
    cells = [
        "import os, signal, sys\nimport matplotlib.pyplot as plt, pandas as pd, torch",
        "print({'a', 'b', 'c', 'd'}, os.getcwd(), sys.path)",
        "print(signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGINT), os.getpgid(0) == os.getpid())",
        "print(sorted({k: v for k, v in os.environ.items() if k != 'JPY_PARENT_PID'}.items()))",
        "print(pd.DataFrame([[0.5] * 19]), torch.get_num_threads(), plt.get_backend(), plt.isinteractive())",
        "import seaborn, sklearn.linear_model\npd.options.display.max_columns, dict(plt.rcParams)",
        "torch.nn.Linear(2, 2)(torch.ones(2)).sum().backward()\nplt.plot([1, 2]);",
        "import subprocess\nprint(subprocess.run(['sh', '-c', 'exit 3']).returncode, __name__)",
    ]
    alone = once(book.add("tiny", *cells)).path.read_text()
    chapter = book.add("tiny", *cells)
    results = list(engine.run(engine.plan([chapter, book.add("other"), book.add("third")], {}, force=True), 2))
    assert [r.error for r in results] == ["", "", ""]
    cells = [[c.get("outputs") for c in json.loads(text)["cells"]] for text in (alone, chapter.target().read_text())]
    assert cells[0] == cells[1]
    assert "as in the run" in str(cells[0]) and "image/png" in str(cells[0])


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are copies on Linux only")
def test_the_process_that_kernels_are_copies_of_has_one_thread_and_all_its_imports():
    server = kernels.Server(engine.FIXED, kernels.SOME)
    try:
        server.wait()
        process = psutil.Process(server.process.pid)
        loaded = " ".join(part.path for part in process.memory_maps())
        assert "libtorch" in loaded and "libarrow" in loaded and "sklearn" in loaded
        assert process.num_threads() == 1  # a copy has no other
    finally:
        server.close()


def test_chapters_that_are_copies_share_nothing(book):
    cell = "import torch\nprint(os.environ.get('MARK'), hasattr(torch, 'mark'))\nos.environ['MARK'] = torch.mark = '1'"
    chapters = [book.add(f"a{i}", "import os", cell) for i in range(3)]
    assert [outputs(r.path) for r in engine.run(engine.plan(chapters, {}), 1)] == ["None False\n"] * 3


def test_chapters_that_are_copies_draw_different_numbers(book):
    cell = "import numpy as np, torch\nprint(np.random.rand(), torch.rand(1).item())"
    chapters = [book.add(f"a{i}", cell) for i in range(2)]
    first, second = (outputs(r.path).split() for r in engine.run(engine.plan(chapters, {}), 1))
    assert first[0] != second[0] and first[1] != second[1]


def test_chapters_whose_kernels_cannot_be_started_fail_with_one_sentence(book):
    killer = book.add("a", "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)")
    results = list(engine.run(engine.plan([killer, book.add("b")], {}), 1))
    assert "Dead" in results[0].error
    assert results[1].error == "RuntimeError: the process that starts kernels has ended: run the same command again."
    assert not any(path.endswith(".ipynb") and "failed" not in path for path in book.files())


def test_a_failing_cell_leaves_the_good_notebook_and_keeps_the_partial_one(book):
    chapter = book.add("tiny", "print('one')", "print('two')")
    good = once(chapter).path.read_bytes()
    chapter = book.add("tiny", "print('three')", "raise RuntimeError('no luck')", "print('never')")
    result = once(chapter)
    assert result.error == "RuntimeError: no luck" and "raise RuntimeError" in result.cell
    assert "RuntimeError" in result.traceback
    assert chapter.target().read_bytes() == good
    assert result.path == book.root / "_build/failed/tiny.ipynb"
    assert "three" in outputs(result.path) and "never" not in outputs(result.path)
    assert chapter.freshness().state == "stale"


@pytest.mark.parametrize("workers", [2, 1])
def test_a_kernel_that_dies_is_a_failure_of_its_chapter_alone(book, workers):
    bad = book.add("bad", "print('alive', flush=True)", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    good = book.add("good", "print('fine')")
    results = {r.chapter.slug: r for r in engine.run(engine.plan([bad, good], {}), workers)}
    assert "SIGKILL" in results["bad"].cell and results["bad"].error
    assert "alive" in outputs(results["bad"].path) and not bad.target().exists()
    assert not results["good"].error and good.target().exists()


@both
def test_a_killed_run_leaves_nothing_half_written_and_the_next_one_is_clean(book, others):
    chapter = book.add("tiny", "print('good')")
    good = once(chapter).path.read_bytes()
    marker = book.root / "kernel.pid"
    cell = f"import os, pathlib, time\npathlib.Path({str(marker)!r}).write_text(str(os.getpid()))\ntime.sleep(120)"
    book.add("tiny", cell)
    for i in range(others):
        book.add(f"z{i}")
    with subprocess.Popen(RUN, **QUIET) as process:
        kernel = int(wait_for(marker))
        server = psutil.Process(kernel).ppid()
        assert (server != process.pid) == (others > 0)
        process.kill()
    left = chapter.target().with_name(f".tiny.ipynb.{process.pid}.tmp")  # as if the kill had come while writing
    left.write_text("{")
    assert chapter.target().read_bytes() == good
    chapter = book.add("tiny", "print('better')")
    assert "better" in outputs(once(chapter).path)
    marker.unlink()
    assert book.files() == ["book/notebooks/variance/tiny.ipynb"]
    wait_for_end(kernel, server, seconds=20)


@both
def test_an_interrupt_ends_the_kernels_at_once(book, others):
    marker = book.root / "kernel.pid"
    cell = f"import os, pathlib, time\npathlib.Path({str(marker)!r}).write_text(str(os.getpid()))\ntime.sleep(120)"
    chapter = book.add("tiny", f"import os\nos._exit = print  # or it would end by itself, without its parent\n{cell}")
    for i in range(others):
        book.add(f"z{i}")
    with subprocess.Popen(RUN, **QUIET, preexec_fn=listen) as process:
        kernel = int(wait_for(marker))
        server = psutil.Process(kernel).ppid()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    wait_for_end(kernel, server, seconds=5)  # a process that was killed needs a moment to give back its memory
    assert not chapter.target().exists()


def test_an_interrupt_while_the_process_that_starts_kernels_still_imports_starts_none(book):
    chapters = [book.add(f"a{i}", "import time\ntime.sleep(60)") for i in range(2)]
    with subprocess.Popen(RUN, **QUIET, preexec_fn=listen) as process:
        end = time.monotonic() + 60
        while not (
            servers := [p for p in psutil.Process(process.pid).children() if "kernels" in " ".join(p.cmdline())]
        ):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert not psutil.pid_exists(servers[0].pid)
    assert not any(chapter.target().exists() for chapter in chapters)


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    engine.write(path, "old")
    monkeypatch.setattr(engine.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError):
        engine.write(path, "new")
    assert path.read_text() == "old"


def test_temporary_files_of_living_runs_are_left_alone(book):
    mine, dead = book.root / "book" / f".a.ipynb.{os.getpid()}.tmp", book.root / "book" / ".a.ipynb.999999999.tmp"
    mine.write_text(""), dead.write_text("")
    engine.sweep_leftovers(book.root)
    assert mine.exists() and not dead.exists()


def test_seeds_and_parameters_write_to_names_of_their_own(book):
    chapter = book.add("tiny", "print(seed, size)")
    paths = [once(chapter, **p).path for p in ({}, {"seed": 1}, {"seed": 2}, {"seed": 2, "size": 5})]
    assert [outputs(p) for p in paths] == ["0 3\n", "1 3\n", "2 3\n", "2 5\n"]
    assert paths[0] == chapter.target() and all("_build/runs" in p.as_posix() for p in paths[1:])
    assert once(chapter, seed=2) is None and once(chapter, seed=0) is None


@pytest.mark.parametrize("value", ["a/b", "../up", "x" * 300, "ü ?", ["a", "b"]])
def test_every_value_makes_a_file_name_inside_the_build_folder(book, value):
    chapter = book.add()
    path = engine.target(chapter, {"size": value})
    assert path.parent == book.root / "_build" / "runs" and len(path.name) < 120 and path.name.isascii()
    assert path != engine.target(chapter, {"size": str(value) + "?"})


def test_a_dry_run_always_runs_and_stays_out_of_the_book(book):
    chapter = book.add("tiny", "print(scale, dry_run)")
    for _ in range(2):
        result = once(chapter, scale="full", dry_run=True)
        assert outputs(result.path) == "full True\n" and result.path.parent == book.root / "_build" / "dry"
    assert not chapter.target("full").exists() and not chapter.target().exists()


def test_a_full_run_is_recorded_beside_its_notebook(book):
    chapter = book.add(
        "tiny", RECORD.format([1.5, 2.5]), "print(*map(os.environ.get, ['REPROLIB_STORE', 'REPROLIB_RECORDED']))"
    )
    first = once(chapter, scale="full").path
    assert first == book.root / "book/full/variance/tiny.ipynb"
    assert pd.read_parquet(first.with_suffix(".parquet"))["seconds"].tolist() == [1.5, 2.5]
    assert chapter.executed("full").meta["trials"] == {"count": 2, "seconds": 4.0}
    assert outputs(first).split() == [str(book.root / "_build" / "store")]
    assert outputs(once(chapter, scale="full", force=True).path).split()[1] == str(first.with_suffix(".parquet"))


def test_a_full_run_that_fails_leaves_the_old_record(book):
    old = once(book.add("tiny", RECORD.format([1.0])), scale="full").path.with_suffix(".parquet")
    assert once(book.add("tiny", RECORD.format([2.0]) + "\n1 / 0"), scale="full").error
    assert pd.read_parquet(old)["seconds"].tolist() == [1.0] and not list(old.parent.glob(".*"))


def test_chapters_run_at_the_same_time(book):
    wait = "import pathlib, time\nhere = pathlib.Path({!r})\n(here / {!r}).touch()\nend = time.time() + 60\n"
    wait += "while len(list(here.glob('*.here'))) < 3:\n    assert time.time() < end\n    time.sleep(0.05)"
    chapters = [book.add(slug, wait.format(str(book.root), f"{slug}.here")) for slug in ("a", "b", "c")]
    assert [r.error for r in engine.run(engine.plan(chapters, {}), 3)] == ["", "", ""]  # each waited for the others


def test_no_thread_of_a_run_parses_python(book, monkeypatch):
    """In CPython 3.11 two threads that parse at once may fail: python/cpython#106905."""
    threads, parse = [], ast.parse
    monkeypatch.setattr(ast, "parse", lambda *a, **k: threads.append(threading.current_thread()) or parse(*a, **k))
    chapters = [book.add(slug, "print(size)") for slug in ("a", "b")]
    assert [r.error for r in engine.run(engine.plan(chapters, {}), 2)] == ["", ""]
    assert set(threads) == {threading.main_thread()}


def test_the_kernel_is_this_interpreter_whatever_python3_is_called_elsewhere(book, monkeypatch):
    spec = book.root.parent / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["false"], "display_name": "Another", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(spec.parents[2]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    result = once(book.add("tiny", "import sys\nprint(sys.executable)"))
    assert not result.error and outputs(result.path).strip() == sys.executable


def test_the_kernel_has_one_thread_a_fixed_hash_seed_and_the_data(book, monkeypatch):
    (book.root / "mirror").mkdir()
    monkeypatch.setenv("REPROLIB_DATA", "mirror")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.delenv("REPROLIB_JOBS", raising=False)
    names = ["OMP_NUM_THREADS", "PYTHONHASHSEED", "REPROLIB_JOBS", "REPROLIB_DATA"]
    chapter = book.add("tiny", f"import os\nprint(*(os.environ[n] for n in {names}))")
    assert outputs(once(chapter).path).split() == ["1", "0", "1", str(book.root / "mirror")]
    full = outputs(once(chapter, scale="full", dry_run=True).path).split()
    assert full[2] == str(os.cpu_count())


def test_status_tells_a_changed_source_from_a_changed_module(book):
    cell = "import sys\nif False:\n    from reprolib.scale import start"
    chapter = book.add("tiny", cell)
    once(chapter)
    notebook = json.loads(chapter.target().read_text())
    meta = notebook["metadata"]["reprolib"]
    assert {"chapter", "reprolib", "reprolib.scale", "reprolib.determinism"} == set(meta["parts"])
    meta["parts"]["reprolib.determinism"] = meta["digest"] = "another"
    chapter.target().write_text(json.dumps(notebook))
    assert chapter.freshness().why == "reprolib.determinism changed"
    once(chapter)
    assert book.add("tiny", cell + "\n").freshness().state == "stale"
    assert book.add("tiny", cell + "\n").freshness().why == "source changed"
    assert book.add("tiny", cell).freshness().state == "fresh"


def test_a_chapter_without_parameters_cell_is_refused_before_anything_runs(book):
    with pytest.raises(Mistake, match="no parameters cell"):
        once(book.add("tiny", "print(1)", parameters=""))
    assert book.files() == []
