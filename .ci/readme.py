"""Write the notebooks' verdicts into README.md, between its two markers (`make readme`)."""

import re
from pathlib import Path

from reprolib.book import scoreboard

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
START, END = "<!-- verdicts -->\n", "<!-- /verdicts -->"

text = README.read_text()
table = scoreboard.markdown(scoreboard.chapters(ROOT))
text, found = re.subn(f"{START}.*?{END}", lambda _: START + table + END, text, flags=re.S)
if found != 1:
    raise SystemExit(f"README.md must hold the markers {START.strip()} and {END} once, found {found}.")
README.write_text(text)
