"""Evidence that one share of answers is larger than another, which may be looked at as often as one likes.

A *process* is a number that starts near 1 and, while nothing is wrong, does not grow on average. By Ville's
inequality (1939) the chance that it ever reaches 1/alpha is then at most alpha, however often and for
however long one looks. Here it is a wager against "not worse": it bets on several odds ratios at once and
adds their winnings.

One bet, on the odds ratio ``o``, over one window (Fisher's conditional likelihood of a 2x2 table): given
that ``hits`` of all requests of the window failed, and that the canary got ``n`` of them, the canary's
number of hits is hypergeometric if both sides are alike. ``o**canary_hits / Z`` has a mean of at most 1 if
``Z >= E[o**X]``, and less where the canary is better. As both sides are compared within the window only,
it does not matter how the common rate moves from window to window: an outage that hits both is no
evidence. The frame is that of Turner, Ly and Grünwald, "Safe Tests and Always-Valid Confidence Intervals
for contingency tables and beyond" (arXiv:2106.02693); conditioning on the window's totals replaces their
estimates of the common rate.

``Z`` is bounded instead of summed, in closed form, for any size: sampling without replacement spreads less
than with (Hoeffding 1963, theorem 4), so the mean of a convex function is at most the binomial one. The
bound holds for each of three ways to see the same draw, and the least of them is taken. It is exact for a
single hit; elsewhere it slows a finding by about the smaller of the share of hits and the canary's share.

Pure; all numbers are logarithms, so nothing overflows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, log, log1p
from typing import Any

STAKE = 0.9
"""Of the wager, from the first look on; the rest is bet anew at each look, ever less: k looks on, one more
k(k+1)-th of it. So a canary that goes bad after long good behaviour starts from a fresh bet instead of
having to win back what was lost."""

Bets = tuple[tuple[float, float], ...]
"""(odds ratio, weight); the weights add up to 1."""


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -inf else high + log1p(exp(low - high))


def gain(
    odds: float, canary_hits: int, canary: int, hits: float, everyone: float, clump: float = 1.0
) -> float:
    """log of what a bet on ``odds`` > 1 is multiplied by: ``canary_hits`` of ``hits`` were among the
    ``canary`` of ``everyone``.

    It rises with each hit of the canary and falls with each of the others (all else the same): the bound is
    concave in ``hits`` with slopes between 0 and log(odds).

    ``clump``: hits may come so many at a time on one side; each is then worth that part of one.
    """
    return (canary_hits * log(odds) - log_mean(odds, canary, hits, everyone)) / clump


def log_mean(odds: float, canary: float, hits: float, everyone: float) -> float:
    """An upper bound of log E[odds**X], X hypergeometric: the canary's part of ``hits``."""
    if not hits or not canary:
        return 0.0
    share, rate = canary / everyone, hits / everyone
    by_hit = hits * log1p(share * (odds - 1))
    by_request = canary * log1p(rate * (odds - 1))
    by_success = canary * log(odds) + (everyone - hits) * log1p(-share * (1 - 1 / odds))
    return min(by_hit, by_request, by_success)


def gain_alone(odds: float, canary_hits: int, canary: int, bound: float, clump: float = 1.0) -> float:
    """The same for a canary without company: against "its rate is at most ``bound``" (binomial; Wald 1945)."""
    return (canary_hits * log(odds) - canary * log1p(bound * (odds - 1))) / clump


@dataclass(frozen=True, slots=True)
class Process:
    """A wager under way: the log of each bet's worth."""

    worth: tuple[float, ...]
    looks: int = 0

    @classmethod
    def of(cls, bets: Bets) -> "Process":
        return cls(tuple(log(STAKE * weight) for _, weight in bets))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Process":
        return cls(tuple(data["worth"]), data["looks"])

    def after(self, bets: Bets, gains: Sequence[float]) -> "Process":
        """One look later; ``gains`` has one figure for each bet, the sum over the look's windows."""
        looks = self.looks + 1
        fresh = log((1 - STAKE) / (looks * (looks + 1)))
        worth = (
            log_add(w, fresh + log(weight)) + g
            for w, (_, weight), g in zip(self.worth, bets, gains, strict=True)
        )
        return Process(tuple(worth), looks)

    @property
    def log_evidence(self) -> float:
        highest = max(self.worth)
        return highest + log(fsum(exp(worth - highest) for worth in self.worth))
