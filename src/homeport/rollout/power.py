"""What the tests bet on, and how much traffic they need: a promotion says something only if a bad canary
would have shown. Pure."""

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, erfc, exp, floor, fsum, inf, lgamma, log, log1p, log2, sqrt

from homeport.rollout.canary import EDGES, STEPS_AN_OCTAVE, Histogram, Settings, above, quantile
from homeport.rollout.evidence import STAKE, Bets, gain, gain_alone, log_add

ERROR_BETS: Bets = ((2.0, 0.1), (6.0, 0.15), (30.0, 0.1), (500.0, 0.65))
"""Most on the gravest: so two errors of a canary with a twentieth of the traffic are enough where the
release before has none."""
QUANTILES = ((0.5, 0.5), (0.9, 0.3), (0.99, 0.2))
"""(quantile of the release before, weight): how often the canary takes longer than that, and as much as it
may be slower."""
LATENCY_ODDS: Bets = ((2.0, 0.4), (6.0, 0.4), (30.0, 0.2))
LATENCY_BETS: Bets = tuple((odds, w * weight) for _, w in QUANTILES for odds, weight in LATENCY_ODDS)

FEWEST_ERRORS = 2
FEWEST_LATENCIES = 20
"""Of the release before, until its quantiles mean something."""
ALONE = 2.0
"""What is compared with the past has to be slower by so many times what is allowed, and not only in its
slowest hundredth: what else the machine does changes from minute to minute, and the slowest answers with it.
Measured here, with nothing changed but the load of the machine: held to what is allowed once, and in all
quantiles, 5 of 9 good releases were condemned."""
QUANTILES_ALONE = 2
FEWEST_SECONDS = 0.010
"""Nobody feels less. Measured: of two equal sides the one with fewer requests, whose connections are colder,
had a 95th percentile of 4 ms beside 2 ms, and on a busy machine of 14 ms beside 5 ms."""
CROWDED_CLUMP = 4.0
"""On a machine that is busy with other work a process waits for its turn, and all that it was asked meanwhile
is slow together."""
MOST_A_LOOK = 1 / 3
"""What one look may add to the evidence for slowness, of what a roll-back takes: a process that was held up
once, for however many requests, is no slow release."""
WORTH_WAITING = 500
"""Where answers are so fast that three times as much is no difference that counts, more are not waited for."""
SLOWER_THAN_ALLOWED = 2.0
"""Latency times this and what is allowed is what must have shown: x 3 with the usual 50 %."""


def requests_needed(settings: Settings, share: float, usual: float) -> int:
    """How many requests the canary needs before a promotion, with ``share`` of the traffic (1: alone), if
    the release before fails at the rate ``usual``."""
    if settings.max_error_rate >= 1:
        return 1
    bad = min(1.0, max(usual + settings.error_rise, 2 * settings.max_error_rate))
    reference = max(usual, settings.max_error_rate) if share >= 1 else usual
    case = Case(share, reference, bad, FEWEST_ERRORS, settings.clump)
    return needed(ERROR_BETS, settings.log_threshold, case, settings.power)


def latencies_needed(settings: Settings, share: float, stable: Histogram) -> int:
    """The same for latency: how many measured answers, so that one ``SLOWER_THAN_ALLOWED`` would show. 0 if
    latency is not judged."""
    if settings.max_latency_increase is None or sum(stable) == 0:
        return 0
    count = sum(stable)
    apart = floor(STEPS_AN_OCTAVE * log2(SLOWER_THAN_ALLOWED * (1 + settings.max_latency_increase)))
    best = None
    compared = limits(stable, settings) if share < 1 else limits_alone(stable, settings)
    for n, (at, limit) in enumerate(compared):
        bets = LATENCY_BETS[n * len(LATENCY_ODDS) : (n + 1) * len(LATENCY_ODDS)]
        usual, bad = above(stable, at) / count, above(stable, limit - apart) / count
        if share >= 1:
            usual = upper(usual, count)
        if bad > usual and usual < 1:
            case = Case(share, usual, bad, clump=settings.clump)
            found = needed(bets, settings.log_threshold, case, settings.power)
            if found > WORTH_WAITING and _is_by_seconds(at, limit, settings):
                continue
            best = found if best is None else min(best, found)
    return FEWEST_LATENCIES if best is None else best


def _is_by_seconds(edge: int, limit: int, settings: Settings) -> bool:
    """Whether a limit is what it is because of :data:`FEWEST_SECONDS`, not of the ratio."""
    return limit > edge + ceil(STEPS_AN_OCTAVE * log2(1 + ALONE * (settings.max_latency_increase or 0.0)))


def limits(stable: Histogram, settings: Settings) -> list[tuple[int, int]]:
    """For each quantile the edge that the release before exceeds so often, and the canary's: higher by at
    least what is allowed."""
    edges = [quantile(stable, q) or 0 for q, _ in QUANTILES]
    return [(edge, _higher(edge, settings.max_latency_increase or 0.0)) for edge in edges]


def _higher(edge: int, increase: float) -> int:
    """The edge that is higher by a share of itself, and by :data:`FEWEST_SECONDS` at least."""
    allowed = ceil(STEPS_AN_OCTAVE * log2(1 + increase) - 1e-9)
    at_least = EDGES[min(edge, len(EDGES) - 1)] + FEWEST_SECONDS
    return max(edge + allowed, bisect_left(EDGES, at_least))


def upper(rate: float, count: int) -> float:
    """Two standard errors over an observed rate."""
    return min(1.0, rate + 2 * sqrt(rate * (1 - rate) / count) + 1 / count)


def limits_alone(stable: Histogram, settings: Settings) -> list[tuple[int, int]]:
    """The same where there is nothing beside it, for the first :data:`QUANTILES_ALONE` of them."""
    edges = [quantile(stable, q) or 0 for q, _ in QUANTILES[:QUANTILES_ALONE]]
    return [(edge, _higher(edge, ALONE * (settings.max_latency_increase or 0.0))) for edge in edges]


TOO_MANY = 10**9


@dataclass(frozen=True, slots=True)
class Case:
    """What a test is up against, for :func:`needed`. Rates and shares are from 0 to 1."""

    share: float
    """The canary's part of the requests; 1: it is alone."""
    usual: float
    """The rate of hits of the release before; for a canary that is alone, the bound it is held to."""
    bad: float
    """The canary's rate of hits that must show."""
    fewest: int = 1
    """It is not condemned for fewer hits."""
    clump: float = 1.0


def needed(bets: Bets, log_threshold: float, case: Case, power: float) -> int:
    """How many requests the canary must have had, so that a rate of ``bad`` would have been found with a
    chance of ``power``; at most ``TOO_MANY``, which stands for "never".

    For that number the hits that would suffice are sought, the other side having as many as usual; then
    the chance of so many (binomial).
    """

    def shows(n: int) -> bool:
        enough = _hits_that_condemn(bets, log_threshold, case, n)
        return enough <= n and _chance_of_at_least(enough, n, case.bad) >= power

    high = 1
    while not shows(high):
        high *= 2
        if high > TOO_MANY:
            return TOO_MANY
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def _hits_that_condemn(bets: Bets, log_threshold: float, case: Case, n: int) -> int:
    """Of ``n`` requests; n + 1: no number of them does."""
    others = 0.0 if case.share >= 1 else case.usual * n * (1 - case.share) / case.share

    def log_evidence(hits: int) -> float:
        total = -inf
        for odds, weight in bets:
            if case.share >= 1:
                won = gain_alone(odds, hits, n, case.usual, case.clump)
            else:
                won = gain(odds, hits, n, hits + others, n / case.share, case.clump)
            total = log_add(total, log(STAKE * weight) + won)
        return total

    low, high = case.fewest - 1, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if log_evidence(middle) >= log_threshold else (middle, high)
    return high


def _chance_of_at_least(hits: int, n: int, rate: float) -> float:
    """Of ``n`` that each hit at ``rate``; by the normal distribution where that is near enough."""
    if hits <= 0 or rate >= 1:
        return 1.0
    if rate <= 0:
        return 0.0
    if rate > 0.5:
        return 1 - _chance_of_at_least(n - hits + 1, n, 1 - rate)
    deviation = sqrt(n * rate * (1 - rate))
    if deviation > 30 or hits > n * rate + 40 * deviation + 40:
        return 0.5 * erfc((hits - 0.5 - n * rate) / (deviation * sqrt(2)))
    fewer = fsum(
        exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(rate) + (n - i) * log1p(-rate))
        for i in range(hits)
    )
    return max(0.0, 1 - fewer)
