"""Claims that are written down before a run, and verdicts that follow from the run alone.

A claim holds one or more criteria. A criterion is a statistic of measured values (every value, their
mean, their median, or the whole 95 % interval of their mean) and the range in which it must lie.
*Reproduced*: all criteria hold. *Partly*: one of the sets named in `partly` holds. Else: *not reproduced*.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from reprolib.scale import Run

CONFIDENCE = 0.95
BOOTSTRAP_FROM = 20  # below this many values the bootstrap covers too little, so Student's t is used
NEAR = 0.1  # of an interval's half-width: an end or a mean this close to its threshold is fragile
NEAR_VALUE = 0.05  # the same for a single value, of the allowed range or of the threshold
REPRODUCED, PARTLY, NOT = "reproduced", "partly", "not reproduced"


def interval(values: ArrayLike) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the 95 % confidence interval of the mean.

    Student's t below 20 values, BCa bootstrap from 20 on (fixed resampling seed, so it repeats).

    Args:
        values: shape (n,), n >= 2, finite.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    values = np.asarray(values, dtype=float).ravel()
    if values.size < 2:
        raise ValueError(f"an interval needs at least two values, got {values.size}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{np.sum(~np.isfinite(values))} of {values.size} values are not finite.")
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return mean, mean, mean
    if values.size < BOOTSTRAP_FROM:
        low, high = stats.t.interval(CONFIDENCE, values.size - 1, loc=mean, scale=stats.sem(values))
    else:
        boot = stats.bootstrap(
            (values,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(0)
        )
        low, high = boot.confidence_interval
    return mean, float(low), float(high)


@dataclass(frozen=True)
class Measurement:
    """One criterion, measured: the statistic's value, its range or interval, and whether it holds."""

    name: str
    statistic: str
    needed: str
    value: float
    low: float
    high: float
    n: int
    holds: bool
    near: bool  # so close to its threshold that another machine could decide otherwise


@dataclass(frozen=True)
class Criterion:
    """A statistic of the measured values must lie in [low, high].

    Attributes:
        low, high: the allowed range, ends included unless `strict`.
        log: the values are ratios > 0; statistics are taken on their logarithms and shown as ratios.
        strict: the ends themselves are not allowed ("the interval excludes 0" is ``low=0, strict=True``).
        note: a few words for the "needed" column.
    """

    low: float = -math.inf
    high: float = math.inf
    log: bool = False
    strict: bool = False
    note: str = ""
    statistic: ClassVar[str] = ""

    def __post_init__(self):
        if not self.low <= self.high or (self.low, self.high) == (-math.inf, math.inf):
            raise ValueError(f"a criterion needs a range that can be missed, got [{self.low}, {self.high}].")

    def measure(self, name: str, values: ArrayLike) -> Measurement:
        """Apply the criterion to `values` of shape (n,)."""
        values = np.atleast_1d(np.asarray(values, dtype=float)).ravel()
        if values.size == 0 or np.isnan(values).any():
            raise ValueError(
                f"criterion {name!r} was given {values.size} values, {np.isnan(values).sum()} of them NaN."
            )
        if self.log and (values <= 0).any():
            raise ValueError(f"criterion {name!r} takes ratios above 0, got {values.min():g}.")
        value, low, high, decisive, slack = self._statistic(np.log(values) if self.log else values)
        ends = [np.log(end) if self.log and 0 < end < math.inf else end for end in (self.low, self.high)]
        if self.log and self.low <= 0:
            ends[0] = -math.inf
        inside = (lambda x: ends[0] < x < ends[1]) if self.strict else (lambda x: ends[0] <= x <= ends[1])
        near = any(abs(x - end) <= slack(end, ends) for x in decisive for end in ends if math.isfinite(end))
        back = math.exp if self.log else float
        return Measurement(
            name, self.statistic, self.needed(), back(value), back(low), back(high), values.size,
            bool(all(inside(x) for x in decisive)), bool(near),
        )  # fmt: skip

    def _statistic(self, values):
        raise NotImplementedError

    def needed(self) -> str:
        """Return the criterion as a phrase, e.g. ``whole interval <= 0.7``."""
        what = f"geometric {self.statistic}" if self.log and self.statistic == "mean" else self.statistic
        if math.isinf(self.low):
            rule = f"{'<' if self.strict else '<='} {self.high:.4g}"
        elif math.isinf(self.high):
            rule = f"{'>' if self.strict else '>='} {self.low:.4g}"
        elif self.low == self.high:
            rule = f"= {self.low:.4g}"
        else:
            rule = f"in {'(' if self.strict else '['}{self.low:.4g}, {self.high:.4g}{')' if self.strict else ']'}"
        return f"{what} {rule}" + (f" ({self.note})" if self.note else "")


class Each(Criterion):
    """Every value lies in the range. The value shown is the one nearest to breaking it."""

    statistic = "every value"

    def _statistic(self, values):
        low, high = values.min(), values.max()
        room = {low: low - self._end(self.low, -math.inf), high: self._end(self.high, math.inf) - high}
        worst = min(room, key=room.get)
        return worst, low, high, (low, high), _value_slack

    def _end(self, end: float, none: float) -> float:
        if not self.log or math.isinf(end):
            return end
        return math.log(end) if end > 0 else none


class Median(Criterion):
    """The median lies in the range."""

    statistic = "median"

    def _statistic(self, values):
        middle = np.median(values)
        return middle, values.min(), values.max(), (middle,), _value_slack


class Mean(Criterion):
    """The mean lies in the range; shown with its 95 % interval."""

    statistic = "mean"

    def _statistic(self, values):
        mean, low, high = interval(values)
        return mean, low, high, (mean,), _interval_slack(low, high)


class Interval(Criterion):
    """The whole 95 % interval of the mean lies in the range."""

    statistic = "whole interval"

    def _statistic(self, values):
        mean, low, high = interval(values)
        return mean, low, high, (low, high), _interval_slack(low, high)


def _interval_slack(low, high):
    return lambda end, ends: NEAR * (high - low) / 2


def _value_slack(end, ends):
    width = ends[1] - ends[0]
    return NEAR_VALUE * (width if math.isfinite(width) else abs(end))


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, with the rule that decides it, fixed before anything runs.

    Attributes:
        id: short and stable, e.g. ``"C2"``.
        kind: ``"exact"`` (an identity holds to a tolerance), ``"bound"`` (every value obeys a limit) or
            ``"effect"`` (two arms on the same seeds, compared in pairs).
        statement: the claim in one sentence.
        paper: the paper's evidence: a number and where it stands, or the claim in words.
        measures: what is measured here.
        criteria: name -> criterion; the first one is the headline.
        partly: sets of criterion names; when not all criteria hold but one of these sets does, *partly*.
        pilot: the thresholds were set with pilot numbers known.
    """

    id: str
    kind: str
    statement: str
    paper: str
    measures: str
    criteria: Mapping[str, Criterion]
    partly: Sequence[Sequence[str]] = ()
    pilot: bool = False

    def __post_init__(self):
        if self.kind not in ("exact", "bound", "effect"):
            raise ValueError(f"claim {self.id}: kind must be 'exact', 'bound' or 'effect', got {self.kind!r}.")
        if not self.criteria:
            raise ValueError(f"claim {self.id} has no criterion, so no run could fail it.")
        unknown = {name for names in self.partly for name in names} - set(self.criteria)
        if unknown:
            raise ValueError(f"claim {self.id}: `partly` names {sorted(unknown)}, which are no criteria of it.")

    @classmethod
    def effect(cls, id: str, *, threshold: float, **fields) -> Claim:
        """A claim under the default rule for paired differences.

        Reproduced when the interval excludes 0 and the mean reaches `threshold` (> 0); partly when one
        of the two holds, which either way means that the direction is right.
        """
        if not threshold > 0:
            raise ValueError(f"claim {id}: threshold must be above 0, got {threshold}.")
        criteria = {"excludes 0": Interval(low=0, strict=True), "size": Mean(low=threshold)}
        return cls(id=id, kind="effect", criteria=criteria, partly=[[name] for name in criteria], **fields)

    def verdict(self, holds: Mapping[str, bool]) -> str:
        """Return the verdict word for the criteria that hold."""
        if all(holds.values()):
            return REPRODUCED
        return PARTLY if any(all(holds[name] for name in names) for names in self.partly) else NOT

    def needed(self) -> str:
        """Return the whole rule as text."""
        parts = [f"{name}: {criterion.needed()}" for name, criterion in self.criteria.items()]
        if self.partly:
            parts.append("partly if only " + " or ".join(" and ".join(names) for names in self.partly))
        return "; ".join(parts) + ("; set with pilot numbers known" if self.pilot else "")


def on_each(
    places: Sequence[str], criteria: Mapping[str, Criterion], partly: Sequence[Sequence[str]] = ()
) -> dict[str, object]:
    """Ask for the same `criteria` on every data set: the fields ``criteria`` and ``partly`` of a `Claim`.

    *Partly* is one of the `partly` sets on every data set, or all criteria on one of several data sets.

    Args:
        places: names of the data sets.
        criteria, partly: as for a `Claim` on one data set.
    """
    named = {label(name, place, places): criterion for place in places for name, criterion in criteria.items()}
    sets = [[label(name, place, places) for place in places for name in names] for names in partly]
    if len(places) > 1:
        sets += [[label(name, place, places) for name in criteria] for place in places]
    return {"criteria": named, "partly": sets}


def label(name: str, place: str, places: Sequence[str]) -> str:
    """Return the name that `on_each` gives to a criterion on the data set `place`."""
    return name if len(places) == 1 else f"{name}, {place}"


class Verdicts:
    """The verdict table of a run. Show it as the last line of the verdict cell.

    The output is an HTML table and the same as text; its metadata holds the same content under the key
    ``reprolib``, which the scoreboard, the banner and the command line read.

    Raises:
        ValueError: two claims share an id; a record names an unknown claim or criterion, or comes twice; a claim
            has no record when the table is shown.
    """

    def __init__(self, claims: Sequence[Claim], run: Run):
        self.claims = {claim.id: claim for claim in claims}
        if len(self.claims) != len(claims):
            raise ValueError("two claims share an id.")
        self.run = run
        self.measured: dict[str, list[Measurement]] = {}

    def record(self, id: str, values: ArrayLike | None = None, /, **by_criterion: ArrayLike) -> None:
        """Judge claim `id` on `values` for every criterion, or on values named by criterion (shape (n,) each).

        A criterion whose name is no Python identifier is given as ``**{"the name": values}``.
        """
        if id not in self.claims:
            raise ValueError(f"no claim {id!r}: the claims are {', '.join(self.claims)}.")
        claim = self.claims[id]
        if values is not None:
            by_criterion = dict.fromkeys(claim.criteria, values) | by_criterion
        if set(by_criterion) != set(claim.criteria):
            raise ValueError(f"claim {id} needs values for {list(claim.criteria)}, got {list(by_criterion)}.")
        if id in self.measured:
            raise ValueError(f"claim {id} was recorded before: a claim is judged once.")
        if self.run.dry_run:  # a few steps show that the path works, nothing else
            self.measured[id] = []
        else:
            self.measured[id] = [c.measure(name, by_criterion[name]) for name, c in claim.criteria.items()]

    def as_dict(self) -> dict:
        """Return the table as plain data (numbers that are not finite become None: JSON has none)."""
        missing = [id for id in self.claims if id not in self.measured]
        if missing:
            raise ValueError(f"no measurement was recorded for {', '.join(missing)}.")
        if self.run.dry_run:
            return {"claims": [], "dry_run": True}
        return _finite({"claims": [self._row(claim) for claim in self.claims.values()]})

    def _row(self, claim: Claim) -> dict:
        measured = self.measured[claim.id]
        holds = {m.name: m.holds for m in measured}
        verdict = claim.verdict(holds)
        fragile = any(m.near and claim.verdict(holds | {m.name: not m.holds}) != verdict for m in measured)
        head = measured[0]
        return {
            "id": claim.id,
            "kind": claim.kind,
            "statement": claim.statement,
            "paper": claim.paper,
            "measures": claim.measures,
            "needed": claim.needed(),
            "value": head.value,
            "low": head.low,
            "high": head.high,
            "seeds": head.n,
            "verdict": verdict,
            "fragile": fragile,
            "pilot": claim.pilot,
            "criteria": [asdict(m) for m in measured],
        }

    def __repr__(self) -> str:
        table = self.as_dict()
        if table.get("dry_run"):
            return "Dry run: the path was walked from end to end; there are no verdicts."
        lines = []
        for row in table["claims"]:
            lines.append(f"{row['id']} ({row['kind']}): {row['verdict'].upper()}. {row['statement']}")
            lines += [f"    {c['name']}: here {_here(c)}; needed {c['needed']}" for c in row["criteria"]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = self.as_dict()
        if table.get("dry_run"):
            return f"<p>{html.escape(repr(self))}</p>"
        return verdict_table(table["claims"])

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"text/plain": repr(self), "text/html": self._repr_html_()}
        return data, {"reprolib": self.as_dict()}


def verdict_table(rows: Sequence[Mapping]) -> str:
    """Return the verdict table as HTML, a row for each criterion of a claim; `rows` as in ``as_dict()["claims"]``."""
    body = "\n".join(f"<tbody>{_claim_rows(row)}</tbody>" for row in rows)
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Claim", "Paper", "Here", "Needed", "Verdict"))
    return f'<table class="verdicts"><thead><tr><td></td>{head}</tr></thead>\n{body}</table>'


def _claim_rows(row: Mapping) -> str:
    criteria = row["criteria"]
    rule = [part for part in row["needed"].split("; ") if part.startswith("partly if")]
    notes = [part[:1].upper() + part[1:] for part in rule] + ["Thresholds set with pilot numbers known"] * row["pilot"]
    tall = f'rowspan="{len(criteria) + bool(notes)}"'
    lines = [
        f'<td class="here">{html.escape(c["name"])}: {html.escape(_here(c))}</td>'
        f'<td class="needed">{html.escape(c["needed"])}</td>'
        for c in criteria
    ]
    fragile = '<span class="here">, fragile: very near its threshold</span>' if row["fragile"] else ""
    first = (
        f'<th scope="rowgroup" {tall}>{html.escape(row["id"])}<br><small>{row["kind"]}</small></th>'
        f"<td {tall}>{html.escape(row['statement'])}<br><small>Measured: {html.escape(row['measures'])}</small></td>"
        f'<td class="paper" {tall}>{html.escape(row["paper"])}</td>'
        f'{lines[0]}<td class="verdict verdict-{row["verdict"].replace(" ", "-")}" {tall}>'
        f"<strong>{row['verdict']}</strong>{fragile}</td>"
    )
    rest = [first, *lines[1:]] + (
        [f'<td class="rule" colspan="2"><small>{_brief(notes)}</small></td>'] if notes else []
    )
    return "".join(f"<tr>{cells}</tr>" for cells in rest)


def _brief(notes: Sequence[str]) -> str:
    """Notes as text; a rule that fills more than a few lines is folded."""
    text = html.escape(". ".join(notes)) + "."
    return text if len(text) < 200 else f"<details><summary>Rule for partly, and notes</summary>{text}</details>"


def _here(c: Mapping) -> str:
    """One criterion's measurement as text: mean and interval, or the values' range."""
    value, low, high = (math.nan if c[k] is None else c[k] for k in ("value", "low", "high"))
    mark = "holds" if c["holds"] else "fails"
    if c["n"] == 1:
        return f"{value:.3g}, {mark}"
    if c["statistic"] == "every value":
        return f"{low:.3g} to {high:.3g} ({c['n']} values), {mark}"
    span = f"range {low:.3g} to {high:.3g}" if c["statistic"] == "median" else f"95% [{low:.3g}, {high:.3g}]"
    return f"{value:.3g}, {span}, n={c['n']}, {mark}"


def _finite(x):
    if isinstance(x, dict):
        return {k: _finite(v) for k, v in x.items()}
    if isinstance(x, list):
        return [_finite(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
