"""Kernels by fork: one process imports what chapters import, and each kernel begins as a copy of it.

Imports take a tenth of a chapter's time. A copy is a process of its own: what one chapter changes no other sees.
Run as ``python -m reprolib.book.kernels <file descriptor> <module> ...``, this is that process. It reads a JSON list
``[arguments, variables, folder]`` a line, and writes a line to the descriptor when its imports are done, then each
kernel's process number.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from types import SimpleNamespace

import psutil
from jupyter_client.provisioning import LocalProvisioner

from reprolib import leave_out_avx512

# What takes long in several chapters. Some ask at import whether they are in a notebook: the tqdm of peft looks for
# ipykernel, which is there, and pandas for a function of IPython's. None may leave a thread behind.
IMPORTS = "ipykernel.ipkernel scipy.stats seaborn sklearn.linear_model torch torch._dynamo".split()
SOME = ("peft",)  # only where a chapter that will run imports it


class Kernel(psutil.Process):
    """A kernel's process, with what jupyter_client asks of one that it started itself."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        with suppress(psutil.NoSuchProcess):
            if self.is_running() and self.status() != psutil.STATUS_ZOMBIE:  # not every container's first process reaps
                return None
        return 0

    def wait(self, timeout=None) -> int:
        return 0  # it is asked for after `poll` only

    def send_signal(self, sig) -> None:
        with suppress(psutil.NoSuchProcess):
            super().send_signal(sig)


class Server:
    """The process that kernels are copies of; only where a fork after such imports is safe, which is Linux.

    Args:
        env: variables that a kernel cannot change after its start.
        packages: what the chapters that will run import.
    """

    def __init__(self, env: Mapping[str, str], packages: Collection[str]):
        self.lock = threading.Lock()
        replies, write = os.pipe()
        self.replies = os.fdopen(replies)
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(write), *IMPORTS, *(name for name in SOME if name in packages)],
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            pass_fds=[write],
            start_new_session=True,  # an interrupt is for the run, which then ends the kernels
        )
        os.close(write)
        self.provisioner = type("Copies", (Provisioner,), {"server": self})

    def wait(self) -> None:
        """Return when the imports are done, or when the process is no more, which `fork` will tell."""
        with self.lock:
            self.replies.readline()

    def fork(self, cmd: list[str], env: Mapping[str, str], folder: str | None) -> Kernel:
        """Start a kernel with ``python -m ipykernel_launcher <arguments>`` as its command, after `wait`.

        Raises:
            RuntimeError: the server is no more.
        """
        arguments = cmd[cmd.index("-m") + 1 :]
        with self.lock:
            try:
                print(json.dumps([arguments, dict(env), folder]), file=self.process.stdin, flush=True)
                return Kernel(int(self.replies.readline()))
            except (OSError, ValueError, psutil.NoSuchProcess):
                raise RuntimeError("the process that starts kernels has ended: run the same command again.") from None

    def close(self) -> None:
        """End it and its kernels; one that waits for a kernel is told that there will be none."""
        kill_tree(self.process.pid)
        with suppress(OSError):
            self.process.communicate()
        with self.lock:
            self.replies.close()


class Provisioner(LocalProvisioner):
    """jupyter_client's local provisioner, but that `server` starts the process."""

    server: Server

    async def launch_kernel(self, cmd, **kwargs):
        self.process = self.server.fork(cmd, kwargs["env"], kwargs.get("cwd"))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


def kill_tree(pid: int) -> None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            with suppress(psutil.Error):
                one.kill()


def serve(replies: int, imports: Iterable[str]) -> None:
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder that it was started in; IPython gives each kernel its own
    os.chdir("/")  # that folder may hold a matplotlibrc
    if not os.environ.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel does
    warnings.filterwarnings("ignore", "IProgress not found")  # the tqdm of peft misses a widget
    sys.modules["bitsandbytes"] = None  # where it is installed, peft would load it, and that may touch a GPU
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # pyarrow comes with pandas
    builtins.get_ipython = lambda: SimpleNamespace(kernel=True)
    for name in imports:
        with suppress(Exception):  # the chapter that needs it will say what is wrong
            importlib.import_module(name)
    sys.modules.pop("bitsandbytes", None)
    del builtins.get_ipython
    gc.freeze()  # no kernel need look through these modules for garbage, which takes about a second a chapter
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels
    os.write(replies, b"ready\n")
    for line in sys.stdin:
        if os.fork() == 0:
            begin(replies, *json.loads(line))


def begin(replies: int, arguments: list[str], env: Mapping[str, str], folder: str | None) -> None:
    """Become a kernel, as the launcher would."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(replies, f"{os.getpid()}\n".encode())
    os.close(replies)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    os.environ.clear()  # imports have set some, for torch's compiler and Intel's OpenMP
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))  # the kernel ends when that process does
    leave_out_avx512(os.environ)  # as when these libraries were loaded
    os.chdir(folder or ".")
    if "numpy" in sys.modules and "torch" in sys.modules:  # or all copies would draw the same numbers
        sys.modules["numpy"].random.seed()
        sys.modules["torch"].seed()
    sys.argv = arguments
    from ipykernel import kernelapp

    kernelapp.launch_new_instance(argv=arguments[1:])
    sys.exit()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
