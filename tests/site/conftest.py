"""The site's tests build books, serve them, and open them in the system's Chromium with every other address blocked."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import Page

from reprolib.book import browse


@pytest.fixture(scope="session")
def build():
    """Return a function that builds the book at `root` as a user does, in a process of its own."""

    def build(root: Path, out: Path, repository: str = "") -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "reprolib.book.site", "--root", str(root), "--out", str(out), "--quiet"]
        environ = {**os.environ, "BOOK_REPOSITORY": repository, "BOOK_BRANCH": "", "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=out.parent)

    return build


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def serve():
    """Return a function that serves a folder on this machine and returns its address."""
    servers = []

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")  # its event loop must end with the file: other tests start their own
def browser():
    with browse.browser() as running:
        yield running


@pytest.fixture(scope="module")
def open_page(browser):
    """Return a function that opens a tab which reaches one address only; `page.problems` notes what goes wrong."""

    def open_page(base: str, **options) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        page = context.new_page()
        page.problems = []

        def gate(route):
            if route.request.url.startswith((base, "data:", "blob:")):
                route.continue_()
            else:
                page.problems.append(f"request to {route.request.url}")
                route.abort()

        page.route("**/*", gate)
        page.on("console", lambda m: page.problems.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(f"script: {error}"))
        page.on("response", lambda r: page.problems.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        return page

    return open_page
