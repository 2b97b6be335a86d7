"""The ``smoke`` stage: the environment answers as it should, tried again where the stage says so."""

from homeport.rollout.pipeline.stages import probes, shell
from homeport.rollout.pipeline.stages.work import Found, Work

LONGEST_PAUSE = 60.0
"""Seconds."""


def run(work: Work) -> Found:
    """The stage's requests and then its command; what fails is tried again, all of it, after 1, 2, 4… s."""
    attempts = work.stage.retries + 1
    pause = 1.0
    attempt = 1
    while True:
        found = _once(work, attempt)
        if found.ok or found.stopped is not None or attempt >= attempts:
            return found
        work.log.write(f"failed, tried again in {pause:g} s ({attempt} of {attempts})\n".encode())
        stopped = wait(work, pause)
        if stopped is not None:
            return Found(False, shell.why(stopped), found.lines, found.details, stopped)
        pause = min(2 * pause, LONGEST_PAUSE)
        attempt += 1


def _once(work: Work, attempt: int) -> Found:
    probed = [probes.requests(work, work.stage.requests)] if work.stage.requests else []
    if work.stage.command and all(p.stopped is None for p in probed):
        probed.append(probes.command(work))
    return probes.found(*probed, details={"attempts": attempt})


def wait(work: Work, seconds: float) -> str | None:
    """Wait, or until the work has to end; then why."""
    until = work.clock.monotonic() + seconds
    while (left := until - work.clock.monotonic()) > 0:
        stopped = work.stop()
        if stopped is not None:
            return stopped
        work.clock.sleep(min(left, 0.1))
    return None
