"""The ``verify`` stage: the environment stays well for a while after its deploy."""

from typing import Any

from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_duration
from homeport.rollout.pipeline.stages import probes, shell
from homeport.rollout.pipeline.stages.smoke import wait
from homeport.rollout.pipeline.stages.work import Found, Work

LOOK_EVERY = 1.0
"""Seconds."""
ASK_EVERY = 5.0
"""Seconds between two rounds of the requests."""
BAD_LOOKS = 2
"""Looks in a row that find the environment unwell before it is said to be: one of them may meet a moment in
which the edge or the supervisor did not answer."""


def run(work: Work) -> Found:
    """Look at the environment for ``watch_for`` seconds and at least once; then run the stage's command.

    Fails as soon as the environment is unwell, as when its release was taken back, or a request is answered
    otherwise than it should be. The figures of before and after are told, not judged: that is the watch of
    the rollout, which takes a bad release back.
    """
    started = work.clock.monotonic()
    until = started + work.stage.watch_for
    work.log.write(f"watching {work.environment} for {format_duration(work.stage.watch_for)}\n".encode())
    details: dict[str, Any] = {"looks": 0, "rounds": 0}
    ask_at = started
    bad = 0
    while True:
        stopped = work.stop()
        if stopped is not None:
            return Found(False, shell.why(stopped), details=details, stopped=stopped)
        well, sentence = observe(work)
        details["looks"] += 1
        bad = 0 if well else bad + 1
        if bad >= BAD_LOOKS:
            after = format_duration(work.clock.monotonic() - started)
            work.log.write(f"✗ {sentence}\n".encode())
            return Found(
                False,
                f"{work.environment} is not well after {after}: {sentence}",
                details=_end(work, details),
            )
        now = work.clock.monotonic()
        last = now >= until
        if work.stage.requests and bad == 0 and (last or now >= ask_at):
            probed = probes.requests(work, work.stage.requests, quiet=details["rounds"] > 0)
            details["rounds"] += 1
            details |= probed.details
            if not probed.ok:
                return probes.found(probed, details=_end(work, details))
            ask_at = now + ASK_EVERY
        if last and bad == 0:
            break
        stopped = wait(work, LOOK_EVERY if last else min(LOOK_EVERY, until - now))
        if stopped is not None:
            return Found(False, shell.why(stopped), details=details, stopped=stopped)
    if work.stage.command:
        return probes.found(probes.command(work), details=_end(work, details))
    return Found(True, details=_end(work, details))


def observe(work: Work) -> tuple[bool, str]:
    """Whether the environment is well; a look that fails is one that finds it unwell."""
    try:
        well, sentence = work.observe()
    except HomeportError as e:
        well, sentence = False, e.sentence
    return well, work.masker.mask_text(sentence)


def _end(work: Work, details: dict[str, Any]) -> dict[str, Any]:
    try:
        figures = work.figures()
    except HomeportError:
        figures = None
    return {**details, "figures": figures}
