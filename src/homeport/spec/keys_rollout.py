"""The keys of ``homeport.toml`` about how requests move to a new release, and how it is judged."""

from __future__ import annotations

from homeport.spec.key import Key, Table
from homeport.spec.model import INCONCLUSIVE, STRATEGIES
from homeport.spec.values import Choice, Duration, Flag, Number, OrFalse, Percent, ShellLine, Whole
from homeport.spec.values_pipeline import JsonPath, SignalUrl, Steps

ROLLOUT = "rollout"
SIGNAL = "rollout.signals.NAME"

ROLLOUT_TABLES = (
    Table(
        ROLLOUT,
        "How requests move from one release to the next, and when a new one is taken back. A **percentage** is "
        'written like `"5%"` or `"0.5%"`.',
    ),
    Table(
        SIGNAL,
        "A number of the team's own that helps to judge a new release, such as `[rollout.signals.checkout]`. It is "
        "what a `url` answers or what a `command` prints, and has to lie within `most` and `least`, of which there "
        "is one or both.",
    ),
)

ROLLOUT_KEYS = (
    Key(
        ROLLOUT,
        "strategy",
        Choice(STRATEGIES),
        "`blue-green` starts all new instances, then moves all requests at once; `rolling` replaces `batch` "
        "instances at a time; `canary` gives the new release a rising share of the requests and judges it at each "
        "step; `recreate` stops all old instances before it starts new ones, so that nothing serves in between.",
        "canary",
        default="blue-green",
    ),
    Key(
        ROLLOUT,
        "drain",
        Duration("0s", "1h"),
        "How long an instance that gets no new requests may finish those it has.",
        "1m",
        default="30s",
    ),
    Key(
        ROLLOUT,
        "keep_warm",
        Duration("0s", "7d"),
        "How long the release before stays started, so that a rollback only moves requests.",
        "30m",
        default="10m",
    ),
    Key(
        ROLLOUT,
        "batch",
        Whole(1, 100),
        "With `rolling`: how many instances are replaced at a time.",
        2,
        default=1,
    ),
    Key(
        ROLLOUT,
        "steps",
        Steps(),
        "With `canary`: the new release's share of the requests, rising, in at most 20 steps. `100%` is the last "
        "one, written or not.",
        ["1%", "10%", "50%", "100%"],
        default=["5%", "25%", "100%"],
    ),
    Key(
        ROLLOUT,
        "bake",
        Duration("0s", "24h"),
        "With `canary`: how long each step before the last takes at least.",
        "1m",
        default="30s",
    ),
    Key(
        ROLLOUT,
        "max_error_rate",
        Percent("0%", "100%"),
        "A new release that fails no more often than this is not taken back for its errors.",
        "0.5%",
        default="1%",
    ),
    Key(
        ROLLOUT,
        "max_latency_increase",
        OrFalse(Percent("0%", "10000%"), "latency is not judged"),
        "How much slower than the release before a new one may answer; `false`: latency is not judged.",
        "25%",
        default="50%",
    ),
    Key(
        ROLLOUT,
        "on_inconclusive",
        Choice(INCONCLUSIVE),
        "When there was too little traffic to judge a step by: `wait` for more, `ask` a person, or `continue` with "
        "the next step.",
        "ask",
        default="wait",
    ),
    Key(
        ROLLOUT,
        "watch_for",
        Duration("0s", "24h"),
        "How long a new release is judged once it gets all requests, whatever the strategy; `0s`: not at all.",
        "10m",
        default="5m",
    ),
    Key(
        ROLLOUT,
        "sticky",
        Flag(),
        "With `canary`: a visitor stays with the release that answered first, by a cookie.",
        True,
        default=False,
    ),
    Key(
        ROLLOUT,
        "pin",
        Flag(),
        "A browser that loaded a release goes on talking to it, by a cookie, until its instances are stopped.",
        True,
        default=False,
    ),
    Key(
        SIGNAL,
        "url",
        SignalUrl(),
        "Where the number is asked for, by GET. `{release}` and `{side}` (`new` or `before`) stand for what is asked "
        "about.",
        "https://metrics.example.com/rate?release={release}",
        absent="either this or `command`",
    ),
    Key(
        SIGNAL,
        "command",
        ShellLine(),
        "One shell line that prints the number, run in the new release's directory with `HOMEPORT_RELEASE` and "
        "`HOMEPORT_SIDE`.",
        "bin/checkout-rate",
        absent="either this or `url`",
    ),
    Key(
        SIGNAL,
        "json",
        JsonPath(),
        "Where in a JSON answer the number is: keys and, from 0, numbers of elements.",
        "data.rate",
        absent="the answer is the number",
    ),
    Key(
        SIGNAL,
        "most",
        Number(-1e15, 1e15),
        "The number may be at most this.",
        2.0,
        absent="no bound",
    ),
    Key(
        SIGNAL,
        "least",
        Number(-1e15, 1e15),
        "The number has to be at least this.",
        0.5,
        absent="no bound",
    ),
    Key(
        SIGNAL,
        "compare",
        Flag(),
        "The number is asked for the release before as well, and the bounds are multiples of that: `most = 2.0` is "
        "at most twice as much.",
        True,
        default=False,
    ),
    Key(
        SIGNAL,
        "interval",
        Duration("1s", "1h"),
        "Time between two looks at it.",
        "10s",
        default="5s",
    ),
    Key(
        SIGNAL,
        "timeout",
        Duration("100ms", "1m"),
        "An answer that takes longer does not count.",
        "2s",
        default="5s",
    ),
)
