"""Each rule of the chapter contract catches the chapter that breaks it, and a good chapter passes."""

import base64
import json

import pytest

from reprolib.book.contract import SETUP, breaches

CLAIMS = "CLAIMS = [\n" + "".join(
    f'    Claim(id="C{i}", kind="{kind}", statement="It holds.", criteria={{}}),\n'
    for i, kind in enumerate(("exact", "effect", "effect", "effect"), 1)
)
GOOD = f'''\
# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {{extension: .py, format_name: percent}}
#   kernelspec: {{display_name: Python 3, language: python, name: python3}}
#   chapter:
#     slug: tiny
#     title: "Tiny things"
#     summary: "Small is enough."
#     paper: {{title: "On tiny things", authors: [A. Author], year: 2023, venue: "TinyConf", arxiv: "2301.00001"}}
#     part: variance
#     full: {{device: cpu, minutes: 1, memory_gb: 0.5, data: [], models: [], reduced: ""}}
# ---

# %% [markdown]
r"""
# Tiny things
We ask a question. [Author (2023)](https://arxiv.org/abs/2301.00001).
"""

# %% tags=["setup", "hide-input"]
{SETUP}

# %% tags=["parameters"]
scale: str = "small"  # small | full
seed: int = 0  # base seed; every random draw follows from it
device: str = "auto"  # auto | cpu | cuda
dry_run: bool = False  # walk the path with two steps and no verdicts
size: int = 3  # how many

# %%
run = start("tiny", SCALES, dry={{}}, scale=scale, seed=seed, device=device, dry_run=dry_run)

# %% [markdown]
r"""
## Claims
"""

# %%
{CLAIMS}]

# %% [markdown]
r"""
## The idea

<details class="symbols">
<summary>Symbols</summary>

| Symbol | Meaning |
|:--|:--|
| $x$ | input |
| $y$, $y_1$ | output, and its first entry |
| $\\hat{{y}}$ | its mean |

</details>

Of $x$ we know:

$$
y=x^2,\\qquad y_1=1. \\tag{{1}}
$$

Equation (1) is plotted in Figure 2, with $\\hat{{y}}$.
The set $\\mathbb{{R}}$ and `{{braces}}` and the code `f"{{x}}"`.

## Experiments
### C1: first
### C2: second
### C3 and C4: the rest
"""

# %%
figures.show(fig, caption="Figure 1. A line.", alt="A line that rises.", thumbnail=True)
figures.show(fig, caption="Figure 2. More.", alt="A line that falls.")

# %% [markdown]
r"""
## Verdicts
"""

# %% tags=["nbval-check-output"]
verdicts

# %% [markdown]
r"""
## At full scale
- It takes longer.

## What differs from the paper
- This.
- That.

## Try it
1. What if `size` is 5?
2. And `seed`?
"""
'''


@pytest.fixture
def check(book):
    """Return the function that holds a chapter's text against the contract."""

    def texts(source, warnings=False):
        chapter = book.add("tiny")
        chapter.path.write_text(source)
        return [b.text for b in breaches(chapter) if b.warning == warnings]

    return texts


def test_a_good_chapter_keeps_the_contract(check):
    assert check(GOOD) == []


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("#   chapter:\n", "#   other:\n", "no `chapter:` block"),
        ("CLAIMS = [\n", "@lru_cache(maxsize=2)\ndef slow(x):\n    return x\n\n\nCLAIMS = [\n", "slow is cached"),
        ("slug: tiny", "slug: teeny", "header slug is 'teeny'"),
        ("part: variance", "part: sequences", "both must be the same one"),
        ("year: 2023", 'year: "2023"', "paper.year must be a whole number"),
        ('summary: "Small is enough."', 'summary: ""', "summary is empty"),
        ("device: cpu", "device: tpu", "full.device must be cpu or cuda"),
        ("memory_gb: 0.5", "memory_gb: little", "full.memory_gb must be a number"),
        ("# Tiny things\nWe", "# Other things\nWe", "must be the header's title"),
        ("# Tiny things\nWe", "We", "starts with `# Title`"),
        ("(https://arxiv.org/abs/2301.00001)", "", "must link the paper"),
        ("import importlib.util\n", "import importlib\n", "must be the setup cell, word for word"),
        ('tags=["setup", "hide-input"]', 'tags=["setup"]', "must be the setup cell"),
        ('tags=["parameters"]', 'tags=["params"]', "no parameters cell"),
        (
            'scale: str = "small"  # small | full',
            'scale = "small"',
            'needs the line `scale: str = "small"  # small | full`',
        ),
        ("seed: int = 0 ", "seed: int = 1 ", "needs the line `seed: int = 0"),
        ("size: int = 3  # how many", "size: int = 3", "parameter size needs a type and a comment"),
        ("size: int = 3", "size = 3", "parameter size needs a type and a comment"),
        ("run = start(", "run = begin(", "must call start(...)"),
        ("## The idea\n", "", "The idea missing"),
        ("## The idea\n", "## Claims\n## The idea\n", "in this order"),
        ('id="C4"', 'id="C3"', "at least four claims"),
        ('kind="exact"', 'kind="effect"', 'of kind "exact" or "bound"'),
        ("### C2: second\n", "", "claim C2 has no subsection"),
        ('<details class="symbols">', "<details>", "must say what the symbols mean"),
        ("| $x$ | input |\n", "", "must say what the symbols mean"),
        ("$y_1$ |", "$y_2$ |", "explains $y_2$, which stands in no formula"),
        (" \\tag{1}", "", "must end with ` \\tag{1}`"),
        ("\\tag{1}", "\\tag{2}", "must end with ` \\tag{1}`"),
        ("Figure 1. A line.", "A line.", "must begin with its number: `Figure 1. `"),
        ("Figure 2. More.", "Figure 1. More.", "must begin with its number: `Figure 2. `"),
        ("in Figure 2", "in Figure 3", "names Figure 3, which does not exist"),
        ("Equation (1)", "Equation (2)", "names Equation (2), which does not exist"),
        ('tags=["nbval-check-output"]', "", "exactly one code cell"),
        ("\nverdicts\n", "\nverdicts\n\n# %%\nverdicts\n", "exactly one code cell"),
        ("\nverdicts\n", "\nverdicts\n" + "x = 1\n" * 40, "has 41 lines, at most 40"),
        ('caption="Figure 2. More.", ', "", "has no caption"),
        ('alt="A line that falls."', 'alt=""', "has no alt"),
        (", thumbnail=True", "", "must have thumbnail=True, found 0"),
        ('falls."', 'falls.", thumbnail=True', "must have thumbnail=True, found 2"),
        ("We ask", "We {cite}`tiny` ask", "uses MyST syntax ('{cite}`tiny`')"),
        ("We ask", "```{note}\nYes\n```\nWe ask", "uses MyST syntax"),
        ("We ask", ":::{note}\nYes\n:::\nWe ask", "uses MyST syntax"),
        ("2. And `seed`?\n", "", "found 1"),
        ("2. And `seed`?\n", "2. a\n3. b\n4. c\n", "found 4"),
        ("\nverdicts\n", "\n%timeit verdicts\n", "cannot be read as a chapter"),
    ],
)
def test_a_broken_rule_is_named(check, old, new, words):
    assert old in GOOD
    found = check(GOOD.replace(old, new))
    assert any(words in text for text in found), found
    assert len(found) <= 2, found  # and nothing else is blamed


def test_the_setup_cell_may_be_wrapped_by_a_formatter(check):
    unwrapped = GOOD.replace('ModuleNotFoundError(\n            "', 'ModuleNotFoundError("')
    assert unwrapped != GOOD and check(unwrapped) == []


def test_a_chapter_for_the_cpu_alone_may_say_so(check):
    assert check(GOOD.replace("# auto | cpu | cuda", "# auto | cpu")) == []


def notebook(*outputs, pad=0):
    cell = {"cell_type": "code", "source": "", "outputs": list(outputs)}
    return json.dumps({"cells": [cell], "metadata": {"pad": "x" * pad}})


def png(kilobytes, **metadata):
    data = base64.b64encode(bytes(kilobytes * 1000)).decode()
    return {"output_type": "display_data", "data": {"image/png": data}, "metadata": {"image/png": metadata}}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


@pytest.mark.parametrize(
    "text, words",
    [
        (notebook(stream("a warning", "stderr")), "shows stderr in cell 1 ('a warning')"),
        (notebook(stream("read from /home/someone/data.csv")), "machine path '/home/someone"),
        (notebook({"data": {"text/html": "<p>C:\\Users</p>"}}), "machine path"),
        (notebook(png(10)), "has no alt text"),
        (notebook(png(101, alt="A line.")), "has 101 kB"),
        (notebook(pad=1_500_000), "1.5 MB, at most 1.5 MB are allowed"),
    ],
)
def test_the_executed_notebook_shows_nothing_of_the_machine_and_stays_light(book, check, text, words):
    path = book.root / "book" / "notebooks" / "variance" / "tiny.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (found,) = check(GOOD)
    assert words in found


def test_an_executed_notebook_that_is_light_and_clean_passes(book, check):
    path = book.root / "book" / "notebooks" / "variance" / "tiny.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(notebook(stream("error 1e-3, see https://a.org/home/page and ratio 1/2"), png(61, alt="A line.")))
    assert check(GOOD) == []
    (warning,) = check(GOOD, warnings=True)
    assert "has 61 kB" in warning


SOLUTION = '# %% tags=["solution", "hide-cell"]\nprint(5)\n'


def test_a_solution_is_a_folded_cell_below_try_it(check):
    assert check(GOOD + "\n" + SOLUTION) == []
    [open_] = check(GOOD + "\n" + SOLUTION.replace(', "hide-cell"', ""))
    assert "is a solution" in open_
    elsewhere = check(
        GOOD.replace('# %% [markdown]\nr"""\n## At full scale', SOLUTION + '\n# %% [markdown]\nr"""\n## At full scale')
    )
    assert sum("is a solution" in text for text in elsewhere) == 1
