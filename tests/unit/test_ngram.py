"""The n-gram model against its formula worked by hand, and as a probability distribution."""

from __future__ import annotations

import numpy as np
import pytest

from reprolib.models.ngram import END, NGramLM

LINES = [(1, 2), (1, 2, 3), (2,), (1, 1)]


def by_formula(lines, vocab_size, context, token):
    """Witten-Bell, straight from counts over the padded lines."""
    if context is None:
        return 1 / vocab_size
    n, kinds, count = 0, set(), 0
    for line in lines:
        padded = (END,) * 2 + line + (END,)
        for i in range(2, len(padded)):
            if padded[i - len(context) : i] == context:
                n += 1
                kinds.add(padded[i])
                count += padded[i] == token
    shorter = by_formula(lines, vocab_size, context[1:] if context else None, token)
    return (count + len(kinds) * shorter) / (n + len(kinds)) if n else shorter


@pytest.mark.parametrize("context", [(), (1,), (1, 2), (3, 3), (2, 1, 2)])
def test_probabilities_follow_the_formula(context):
    lm = NGramLM(LINES, vocab_size=5, order=3)
    history = ((END, END) + context)[-2:]
    expected = [by_formula(LINES, 5, history, token) for token in range(5)]
    assert lm(context) == pytest.approx(expected)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_sum_to_one_and_none_is_zero(order):
    lm = NGramLM(LINES, vocab_size=6, order=order)
    for context in ((), (1,), (5,), (1, 2, 3, 4)):
        p = lm(context)
        assert p.sum() == pytest.approx(1) and (p > 0).all()


def test_the_result_is_the_caller_s_to_change():
    lm = NGramLM(LINES, vocab_size=4, order=1)
    lm(())[:] = 0
    assert lm(()).sum() == pytest.approx(1)


def test_a_longer_memory_helps_where_the_text_has_one():
    lines = [(1, 2, 1, 3), (1, 3, 1, 2)] * 20
    losses = [NGramLM(lines, 4, order).nll(lines) for order in (1, 2, 3)]
    assert losses == sorted(losses, reverse=True)


def test_nll_counts_every_token_and_the_end():
    lm = NGramLM(LINES, vocab_size=4, order=2)
    expected = -np.mean(np.log([lm(())[1], lm((1,))[2], lm((1, 2))[END]]))
    assert lm.nll([(1, 2)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lines", "order", "message"),
    [
        (LINES, 0, "order of at least 1"),
        ([], 2, "at least one line"),
        ([(1, 9)], 2, "from 1 to 4"),
        ([(0,)], 1, "from 1"),
    ],
)
def test_bad_input_is_named(lines, order, message):
    with pytest.raises(ValueError, match=message):
        NGramLM(lines, vocab_size=5, order=order)
