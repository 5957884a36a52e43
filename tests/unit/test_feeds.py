"""What the site says of a paper in one line."""

import pytest
from pybtex.database import parse_string

from reprolib.book.feeds import reference


@pytest.mark.parametrize(
    "entry, line",
    [
        (
            "@article{a, author={Doe, Ann}, title={{PiSSA}: a start}, journal={A Journal}, year={2001}}",
            "Doe (2001). PiSSA: a start. A Journal.",
        ),
        (
            "@inproceedings{a, author={Ann Doe and Bo van Dyk}, title={T}, booktitle={Conf}, year={2002}}",
            "Doe and Dyk (2002). T. Conf.",
        ),
        ("@misc{a, author={A. Doe and B. Roe and C. Poe}, title={T}, year={2003}}", "Doe and others (2003). T."),
    ],
)
def test_reference_says_who_when_what_and_where(entry, line):
    assert reference(parse_string(entry, "bibtex").entries["a"]) == line
