"""A release on trial, in words and as a line that follows it."""

import time
from typing import Any

import click

from homeport.cli import screen

SELDOM = 10.0
"""Seconds between two lines where the output is no terminal."""


class Live:
    """One line, written anew as the figures come; in a file or a pipe now and then a line."""

    def __init__(self) -> None:
        self._shown = False
        self._told_at = float("-inf")
        self._told: tuple[object, ...] = ()
        self._terminal = screen.is_terminal()
        self._step = 0

    def step(self, number: int) -> None:
        """A step, counted from 1, was told to have begun: its first figures follow at once."""
        self._step = number

    def tell(self, trial: dict[str, Any]) -> None:
        if trial["state"] != "running" or trial["phase"] != "canary":
            return
        # Figures are read later than events, and can be of a step whose event is still to come.
        if trial["step"] >= self._step:
            return
        text = f"    {line(trial)}"
        if self._terminal:
            width = screen.width() or 80
            click.echo(f"\r\x1b[2K{text[: width - 1]}", nl=False)
            self._shown = True
            return
        about = (trial["step"], trial["paused_by"])
        now = time.monotonic()
        if about != self._told or now - self._told_at >= SELDOM:
            self._told, self._told_at = about, now
            click.echo(text)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[2K", nl=False)
            self._shown = False


def line(trial: dict[str, Any]) -> str:
    """All that matters in one line."""
    f = trial["figures"]
    parts = [f"{percent(trial['share'])} {side(f, 'canary')}"]
    if trial["phase"] == "canary":
        parts.append(f"{trial['before']} {side(f, 'stable')}")
    if trial["asks"]:
        parts.append("asks: homeport rollout resume|promote|abort")
    elif trial["paused_by"]:
        parts.append(f"paused by {trial['paused_by']}")
    elif trial["reasons"] and trial["outcome"] == "forming":
        parts.append(f"needs {trial['reasons'][0]}")
    return f"{trial['release']} at " + " · ".join(parts)


def side(figures: dict[str, Any], name: str) -> str:
    requests, errors = figures.get(f"{name}_requests", 0), figures.get(f"{name}_errors", 0)
    if not requests:
        return "no requests yet"
    p95 = figures.get(f"{name}_p95")
    latency = f", p95 {p95 * 1000:.0f} ms" if p95 is not None else ""
    return f"{requests:,} requests, {percent(errors / requests)} failed{latency}"


def percent(share: float) -> str:
    """0.05 as "5 %", 0.0012 as "0.12 %"."""
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == round(value) else f"{value:.2g} %"


def show(trial: dict[str, Any]) -> None:
    """All of a trial, for people."""
    f = trial["figures"]
    word = trial["state"] if trial["state"] != "running" else trial["outcome"]
    what = "canary" if trial["phase"] == "canary" else "watched"
    click.echo(f"{screen.bold(trial['release'])} {what}, {screen.word(word)}")
    if trial["phase"] == "canary":
        steps = " → ".join(
            screen.bold(f"[{percent(s)}]") if n == trial["step"] else percent(s)
            for n, s in enumerate(trial["shares"])
        )
        click.echo(f"  steps    {steps}")
    elif trial["until"] is not None and trial["state"] == "running":
        click.echo(f"  until    {trial['until'][:19].replace('T', ' ')} UTC, then it is kept")
    if trial["paused_by"]:
        why = (
            "asks: homeport rollout resume, promote or abort" if trial["asks"] else f"by {trial['paused_by']}"
        )
        click.echo(f"  paused   {why}")
    click.echo(f"  {trial['release']:8} {side(f, 'canary')}")
    if trial["before"]:
        click.echo(f"  {trial['before']:8} {side(f, 'stable')}")
    if trial["outcome"] == "forming":
        worse = max(f.get("errors_worse", 0.0), f.get("latency_worse", 0.0))
        click.echo(f"  worse?   {percent(worse)} of the evidence that takes it back")
    label = "needs" if trial["outcome"] == "forming" else "because"
    for reason in trial["reasons"]:
        click.echo(f"  {label:8} {screen.printable(reason)}")
        label = ""
