"""Run one notebook with what this environment has: `python execute.py NOTEBOOK OUT`.

The notebook's own cells install what is missing. The versions of torch and numpy before and after go into
the written notebook's metadata. Needs nbclient only, so that it also runs inside Colab's container.
"""

import sys
from importlib.metadata import version

import nbformat
from nbclient import NotebookClient


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "numpy")}


source, out = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
before = versions()
try:
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
finally:
    notebook.metadata["colab"] = {"before": before, "after": versions()}
    nbformat.write(notebook, out)
