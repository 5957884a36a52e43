"""Run chapters: convert with jupytext, execute with papermill, keep what succeeded and nothing half-written.

Chapters run in threads of this process; each has a kernel process of its own, and that is where the work is done.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from reprolib.book import digest, kernels
from reprolib.book.chapter import SCALES, Chapter, Mistake
from reprolib.files import atomic, temporary

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # one each: trials use the cores
FIXED = dict.fromkeys(THREADS, "1") | {"PYTHONHASHSEED": "0"}  # what a kernel cannot change after its start
BAR = re.compile(r"\d+%\|.*\||\d+(it|trial|epoch|step)?.*\[\d+:\d\d.*\]")  # a line of tqdm
PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}  # imported name -> package, where they differ
WIDGET = "application/vnd.jupyter.widget-view+json"

Report = Callable[[Chapter, int, int, str], None]  # chapter, cells done, cells in all, last progress line


@dataclass
class Result:
    """What came of one chapter."""

    chapter: Chapter
    path: Path
    seconds: float = 0.0
    peak_mb: float = 0.0
    error: str = ""  # one line
    cell: str = ""  # source of the cell that raised
    traceback: str = ""


@dataclass
class Job:
    """One execution that is under way."""

    chapter: Chapter
    scale: str
    parameters: dict[str, Any]  # those that are not defaults
    path: Path
    report: Report = lambda *_: None
    env: dict[str, str] = field(default_factory=dict)  # more variables for the kernel
    provisioner: type[LocalProvisioner] = LocalProvisioner  # starts the kernel
    provenance: dict[str, Any] = field(default_factory=dict)  # what is known before it runs
    notebook: nbformat.NotebookNode | None = None  # as far as it got
    pids: set[int] = field(default_factory=set)
    peak: float = 0.0
    done: int = 0

    def write(self, text: str) -> None:
        """Take a piece of the kernel's stderr; its last progress line is reported."""
        lines = [line for line in re.split(r"[\r\n]", text) if line.strip()]
        if lines and BAR.search(lines[-1]):
            self.progress(lines[-1].strip())

    def flush(self) -> None:
        """Nothing is buffered; papermill asks for it."""

    def progress(self, line: str = "") -> None:
        total = len(self.notebook.cells) if self.notebook else len(self.chapter.notebook.cells)
        self.report(self.chapter, self.done, total, line)


class Engine(NBClientEngine):
    """papermill's engine, which also leaves the notebook with the job, so that a failed one can be kept."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, job: Job, **kwargs):
        job.notebook = nb_man.nb
        job.progress()
        return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)


papermill_engines.register("reprolib", Engine)


def validate(parameters: Mapping[str, Any]) -> None:
    """Check the parameters that every chapter has. Raises Mistake before anything is executed."""
    scale, seed, device = (parameters.get(k, d) for k, d in (("scale", "small"), ("seed", 0), ("device", "auto")))
    if scale not in SCALES:
        raise Mistake(f"scale must be 'small' or 'full', got {scale!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise Mistake(f"seed must be a non-negative integer, got {seed!r}.")
    if not isinstance(parameters.get("dry_run", False), bool):
        raise Mistake(f"dry_run must be true or false, got {parameters['dry_run']!r}.")
    if device not in ("auto", "cpu", "cuda"):
        raise Mistake(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}.")
    if device == "cuda":
        import torch  # a second's import, needed for this question only

        if not torch.cuda.is_available():
            raise Mistake("device is 'cuda', but torch sees no GPU here: use device=cpu or device=auto.")


def plan(chapters: Sequence[Chapter], parameters: Mapping[str, Any], force: bool = False) -> list[Job]:
    """Return the jobs that are not fresh. Raises Mistake for parameters that a chapter cannot take.

    Args:
        chapters: which chapters.
        parameters: by name, ``scale`` and ``dry_run`` among them; defaults may be left out.
        force: run what is fresh, too.
    """
    validate(parameters)
    jobs = []
    for chapter in chapters:
        changed = chapter.not_default(parameters)
        job = Job(chapter, parameters.get("scale", "small"), changed, target(chapter, changed))
        if force or "dry_run" in changed or chapter.freshness(job.scale, changed, job.path).state != "fresh":
            jobs.append(job)
    return jobs


def target(chapter: Chapter, changed: Mapping[str, Any]) -> Path:
    """Return where a run goes: the book for default parameters, a name of its own under ``_build`` for others."""
    others = {k: v for k, v in changed.items() if k not in ("scale", "dry_run")}
    if not others and "dry_run" not in changed:
        return chapter.target(changed.get("scale", "small"))
    name = "-".join([chapter.slug, changed.get("scale", "small"), *(f"{k}={v}" for k, v in sorted(others.items()))])
    plain = re.sub(r"[^A-Za-z0-9_.=+-]", "", name)[:80]
    if plain != name:  # values that make no file name
        name = plain + "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return chapter.root / "_build" / ("dry" if "dry_run" in changed else "runs") / f"{name}.ipynb"


def run(jobs: Sequence[Job], workers: int, report: Report = lambda *_: None) -> Iterator[Result]:
    """Execute jobs, `workers` at once, and yield each result as it comes. An interrupt kills the kernels."""
    if not jobs:
        return
    sweep_leftovers(jobs[0].chapter.root)
    copied = len(jobs) > workers and sys.platform == "linux"
    server = kernels.Server(FIXED, packages(job.chapter.source for job in jobs)) if copied else None
    pool = ThreadPoolExecutor(workers)
    done = threading.Semaphore(0)
    futures = []
    try:
        for job in jobs:
            job.report = report
            job.provisioner = server.provisioner if server else LocalProvisioner
            # Not in the threads: in CPython 3.11 two that parse at once may fail (python/cpython#106905).
            job.provenance = provenance(job)
        if server:
            server.wait()  # what is shared is no part of the first chapters' time
        for job in jobs:
            futures.append(pool.submit(execute, job))
            futures[-1].add_done_callback(lambda _: done.release())
        while futures:
            done.acquire()
            ready = next(f for f in futures if f.done())
            futures.remove(ready)
            yield ready.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if server:
            server.close()
        for pid in [pid for job in jobs for pid in job.pids]:
            kernels.kill_tree(pid)
        pool.shutdown()


def execute(job: Job) -> Result:
    """Execute one job. The target is replaced only when every cell succeeded."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    record = temporary(job.path.with_suffix(".parquet"))
    result = Result(job.chapter, job.path)
    begin = time.perf_counter()
    try:
        with watch(job):
            papermill.execute_notebook(
                job.chapter.notebook,
                None,
                parameters=job.parameters,
                engine_name="reprolib",
                kernel_name="python3",
                kernel_manager_class=kernel_manager(job, environment(job, record)),
                request_save_on_cell_execute=False,
                shutdown_kernel="immediate",  # sweeps have closed their stores; an orderly end takes a second or two
                progress_bar=False,
                stderr_file=job,
                start_timeout=180,
                resources={"metadata": {"path": str(workspace(job))}},
                on_cell_executed=lambda cell, cell_index, **_: (setattr(job, "done", cell_index + 1), job.progress()),
                job=job,
            )
    except PapermillExecutionError as error:
        result.error, result.cell = f"{error.ename}: {error.evalue}", error.source
        result.traceback = "\n".join(error.traceback)
    except Exception as error:  # a kernel that died or did not start is this chapter's failure, not the run's
        result.error = f"{type(error).__name__}: {error}".splitlines()[0]
        source = job.notebook.cells[job.done].source if job.notebook and job.done < len(job.notebook.cells) else ""
        result.cell, result.traceback = source, str(error)
    result.seconds, result.peak_mb = round(time.perf_counter() - begin, 1), round(job.peak)
    if result.error:
        record.unlink(missing_ok=True)
        if job.notebook:
            result.path = job.chapter.root / "_build" / "failed" / f"{job.chapter.slug}.ipynb"
            write(result.path, nbformat.writes(tidy(job.notebook)))
        return result
    notebook = tidy(job.notebook)
    notebook.metadata["reprolib"] = {**job.provenance, "seconds": result.seconds, "peak_mb": result.peak_mb}
    if record.exists():
        notebook.metadata["reprolib"]["trials"] = trials(record)
        os.replace(record, job.path.with_suffix(".parquet"))
    write(job.path, nbformat.writes(notebook) + "\n")
    return result


def provenance(job: Job) -> dict[str, Any]:
    """Return what of the notebook's ``reprolib`` metadata is known beforehand: what is run, and on what."""
    source, parts = job.chapter.source, job.chapter.parts(job.scale, job.parameters)
    return {
        "slug": job.chapter.slug,
        "scale": job.scale,
        "parameters": job.parameters,
        "digest": digest.combine(parts),
        "parts": dict(parts),
        "science": digest.sciences(source),
        "cpu": cpu(),
        "versions": versions(source),
        "commit": commit(job.chapter.root),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def environment(job: Job, record: Path) -> dict[str, str]:
    """Return the variables that a chapter's kernel gets on top of this process's own.

    A full run takes finished trials from the store and from the chapter's committed record, and writes to `record`.
    """
    env = FIXED | {"REPROLIB_JOBS": "1"}
    env |= dict.fromkeys(("REPROLIB_AUDIT", "REPROLIB_RECORD", "REPROLIB_RECORDED"), "")
    env["REPROLIB_STORE"] = str(job.chapter.root / "_build" / "store")
    if job.scale == "full":
        env["REPROLIB_JOBS"] = os.environ.get("REPROLIB_JOBS", str(os.cpu_count()))
    if job.scale == "full" and "dry_run" not in job.parameters:
        recorded = job.chapter.target("full").with_suffix(".parquet")
        env |= {"REPROLIB_RECORD": str(record), "REPROLIB_RECORDED": str(recorded) if recorded.exists() else ""}
    if os.environ.get("REPROLIB_DATA"):  # may be relative to where the user is, which is not where the kernel is
        env["REPROLIB_DATA"] = str(Path(os.environ["REPROLIB_DATA"]).expanduser().resolve())
    return env | job.env


def kernel_manager(job: Job, env: Mapping[str, str]) -> type[AsyncKernelManager]:
    """Return a manager whose kernel is this interpreter, whatever a kernelspec "python3" of the user says."""

    class Manager(AsyncKernelManager):
        kernel_spec = KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]), env=dict(env))

        async def _async_start_kernel(self, **kwargs):
            self.provisioner = job.provisioner(parent=self, kernel_spec=self.kernel_spec)
            await super()._async_start_kernel(**kwargs)
            job.pids.add(self.provisioner.pid)

        start_kernel = _async_start_kernel

    return Manager


@contextmanager
def watch(job: Job, every: float = 0.2):
    """Measure the peak memory (MB, resident) of the job's kernel and the workers it starts."""
    stop = threading.Event()

    def sample():
        while not stop.wait(every):
            for pid in list(job.pids):
                try:
                    kernel = psutil.Process(pid)
                    used = sum(p.memory_info().rss for p in (kernel, *kernel.children(recursive=True)))
                    job.peak = max(job.peak, used / 1e6)
                except psutil.Error:
                    pass  # it just ended

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        job.pids.clear()
        thread.join()


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what differs between machines and runs without meaning: paths, times, random ids, progress bars."""
    for key in ("papermill", "jupytext", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3", "file_extension": ".py"}
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02d}"
        for key in ("papermill", "execution", "cell_marker"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            for output in cell.outputs:
                if output.output_type == "stream" and output.name == "stderr":
                    lines = [s.replace("\x1b[A", "") for s in re.split(r"[\r\n]+", output.text)]
                    output.text = "".join(f"{line}\n" for line in lines if line.strip() and not BAR.search(line))
            outputs, cell.outputs = cell.outputs, []
            for output in outputs:
                last = cell.outputs[-1] if cell.outputs else {}
                if output.output_type == "stream" and output.name == last.get("name"):  # a bar was between them
                    last.text += output.text
                elif output.get("text", "x") and WIDGET not in output.get("data", {}):
                    cell.outputs.append(output)
    return notebook


def write(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    with atomic(path) as fresh:
        fresh.write_text(text, encoding="utf-8", newline="\n")


def sweep_leftovers(root: Path) -> None:
    """Remove temporary files of runs that are no more (a kill leaves them behind)."""
    for folder in (root / "book", root / "_build"):
        for path in folder.rglob(".*.tmp"):
            pid = path.name.split(".")[-2]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                path.unlink(missing_ok=True)


def workspace(job: Job) -> Path:
    """Return a folder for the kernel to stand in: a chapter reads and writes nothing beside itself."""
    folder = job.chapter.root / "_build" / "work" / job.chapter.slug
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def trials(record: Path) -> dict[str, float]:
    """Return how many trials a record holds, and the seconds that they took (a run that reuses them takes less)."""
    from pyarrow import parquet  # only full runs need it

    seconds = parquet.read_table(record, columns=["seconds"])["seconds"].to_pylist()
    return {"count": len(seconds), "seconds": round(sum(seconds), 1)}


def cpu() -> str:
    """Return the processor's name as its maker gives it."""
    try:
        return re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1].strip()
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def versions(source: str) -> dict[str, str]:
    """Return the versions of python and of the packages that a chapter and its reprolib modules import."""
    found = {"python": platform.python_version()}
    for name in sorted(packages([source, *digest.modules(source).values()])):
        try:
            found[name] = importlib.metadata.version(PACKAGES.get(name, name))
        except importlib.metadata.PackageNotFoundError:
            pass  # the standard library
    return found


def packages(texts: Iterable[str]) -> set[str]:
    """Return the first part of every name that import statements of `texts` give."""
    return {name for text in texts for name in re.findall(r"^\s*(?:import|from) (\w+)", text, flags=re.MULTILINE)}


def commit(root: Path) -> str:
    """Return the short hash of HEAD, or nothing outside git."""
    try:
        git = subprocess.run(["git", "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return git.stdout.strip() if git.returncode == 0 else ""
