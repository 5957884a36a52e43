"""Kernels by fork: one process imports what chapters import, and each kernel begins as a copy of it.

Imports take a tenth of a chapter's time. A copy is a process of its own: what one chapter changes no other sees.
Run as ``python -m reprolib.book.kernels``, this is that process. It reads a JSON list ``[command, variables, folder]``
a line, and answers each with the kernel's process number.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
from jupyter_client.provisioning import LocalProvisioner

# What takes long in several chapters, and neither starts a thread nor asks at import whether it is in a notebook, as
# pandas does.
IMPORTS = "ipykernel.ipkernel matplotlib.pyplot scipy.stats torch torch._dynamo".split()


class Kernel(psutil.Process):
    """A kernel's process, with the rest of what jupyter_client asks of one that it started itself."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return None if self.is_running() else 0


class Server:
    """The process that kernels are copies of. `env`: variables to set before the imports, or before Python itself."""

    def __init__(self, env: Mapping[str, str]):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # an interrupt is for the run, which then ends the kernels
        )

    def fork(self, cmd: list[str], env: Mapping[str, str], folder: str | None) -> Kernel:
        """Start a kernel with ``python -m ipykernel_launcher <arguments>`` as its command.

        Raises:
            RuntimeError: the server is no more.
        """
        arguments = cmd[cmd.index("-m") + 1 :]
        with self.lock:
            try:
                print(json.dumps([arguments, dict(env), folder]), file=self.process.stdin, flush=True)
                return Kernel(int(self.process.stdout.readline()))
            except (OSError, ValueError, psutil.NoSuchProcess):
                raise RuntimeError("the process that starts kernels has ended: run the same command again.") from None

    def close(self) -> None:
        self.process.communicate()  # closes its input, which ends it, and minds no broken pipe


class Provisioner(LocalProvisioner):
    """jupyter_client's local provisioner, but that `server` starts the process."""

    server: Server

    async def launch_kernel(self, cmd, **kwargs):
        self.process = self.server.fork(cmd, kwargs["env"], kwargs.get("cwd"))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


@contextmanager
def forked(env: Mapping[str, str]) -> Iterator[type[LocalProvisioner]]:
    """Give a provisioner whose kernels are copies of one process, where a fork after such imports is safe.

    Args:
        env: variables that a kernel cannot change after its start.
    """
    if sys.platform != "linux":
        yield LocalProvisioner
        return
    server = Server(env)
    try:
        yield type("Forked", (Provisioner,), {"server": server})
    finally:
        server.close()


def serve() -> None:
    del sys.path[0]  # the folder that it was started in; IPython gives each kernel its own
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as a kernel does
    for name in IMPORTS:
        try:
            importlib.import_module(name)
        except ImportError:  # the chapter that needs it will say so
            pass
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels
    for line in sys.stdin:
        if os.fork() == 0:
            begin(*json.loads(line))


def begin(arguments: list[str], env: Mapping[str, str], folder: str | None) -> None:
    """Become a kernel, as the launcher would."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    print(os.getpid(), flush=True)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))  # the kernel ends when that process does
    os.chdir(folder or ".")
    sys.argv = arguments
    from ipykernel import kernelapp

    kernelapp.launch_new_instance(argv=arguments[1:])
    os._exit(0)


if __name__ == "__main__":
    serve()
