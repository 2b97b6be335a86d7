"""A rollout's hooks: commands that run once, in the new release's directory, as an instance would."""

from collections.abc import Callable

from homeport.kernel.errors import Kind, declare
from homeport.kernel.masking import Stream
from homeport.kernel.units import format_duration
from homeport.rollout import build as building
from homeport.rollout import desired, events
from homeport.rollout.model import Change
from homeport.rollout.parts import Parts
from homeport.runtime import commands
from homeport.spec.model import Hook
from homeport.system import process

FAILED = declare("rollout.hook_failed", Kind.ROLLED_BACK, "A hook of the app ended with an error, or hung.")

CLOSING = "closing"
"""What ``stop`` says when the control plane ends: the hook has not, and nothing is told of it."""
KEPT = 16_384
"""Bytes of a hook's last output that are told with how it ended."""


def run(parts: Parts, change: Change, hook: Hook, stop: Callable[[], str | None]) -> None:
    """Run a hook to its end. It may run again when the control plane is killed meanwhile.

    Its output goes to the release's log, without secrets. When it ends, nothing that it started is left.
    ``stop`` is asked whether to end it: "cancelled", "closing", or None.
    Raises ``rollout.hook_failed`` with its last lines, or ``rollout.cancelled``.
    """
    app, environment, release = change.app, change.environment, change.goal.release
    directory = parts.prepare_run_directory(app, environment, release)
    spec = parts.spec(app, environment, release)
    name = f"{app}.{environment}.{release}.hook-{hook.name}"
    plain = desired.variables(
        app, environment, release, "", spec, change.config, parts.storage(app, environment, spec)
    )
    serving = parts.state.environment(app, environment).serving
    path = parts.build_log(app, release)
    log = building.BuildLog(path, parts.masker(), append=True)
    started = parts.clock.monotonic()
    printed = bytearray()
    stream = Stream(parts.masker())

    def keep(chunk: bytes) -> None:
        log.write(chunk)
        printed.extend(stream.feed(chunk))
        del printed[:-KEPT]

    log.write(f"$ {hook.command}  # {hook.name} in {environment}\n".encode())
    user = next((p.user for p in spec.processes if p.user is not None), None)
    # What a control plane that was killed has left of it: two of it at once could do harm.
    process.kill_marked(str(parts.data_dir), name)
    try:
        status, reason = process.stream(
            ["/bin/sh", "-c", hook.command],
            timeout=hook.timeout,
            cwd=directory,
            env={
                **commands.BASE_ENVIRONMENT,
                **plain,
                **parts.vault.values(app, environment, dict(change.config.secrets)),
                "HOMEPORT_HOOK": hook.name,
                "HOMEPORT_CHANGE": change.id,
                "HOMEPORT_SERVING": serving or "",
                process.OWNER: str(parts.data_dir),
                process.INSTANCE: name,
            },
            on_output=keep,
            poll=stop,
            user=user,
        )
    finally:
        log.close()
    seconds = round(parts.clock.monotonic() - started, 3)
    if reason == CLOSING:
        raise building.CANCELLED.error(
            "cannot go on: the control plane is stopping; the next one runs it again"
        )
    why = None
    if reason == "cancelled":
        why = "it was cancelled, or taken over by another command"
    elif reason is not None:
        why = f"it ran longer than {format_duration(hook.timeout)}"
    elif status != 0:
        why = f"it ended with status {status}" if status > 0 else f"it ended with signal {-status}"
    printed.extend(stream.flush())
    lines = tuple(printed.decode("utf-8", "replace").splitlines()[-50:])
    with parts.state.store.transaction(change.actor) as tx:
        tx.append(
            events.HookFinished(
                app=app,
                environment=environment,
                change=change.id,
                hook=hook.name,
                seconds=seconds,
                problem=why,
                lines=list(lines[-20:]),
            )
        )
    if reason == "cancelled":
        raise building.CANCELLED.error(f"cannot go on with the hook {hook.name}: {why}")
    if why is not None:
        raise FAILED.error(
            f"cannot go on: the hook {hook.name} failed, {why}",
            hint="its last lines tell why",
            details=lines,
        )
