"""The book's engine: chapters, digests, runs, the contract and the site.

Nothing is imported here on purpose: `reprolib.book.digest` is used by sweeps on machines that have none of
the engine's own dependencies (jupytext, papermill, rich).
"""
