"""Whether what is asked for may be done on this machine, and with what configuration."""

from collections.abc import Mapping
from dataclasses import replace

from homeport.edge.modes import MAINTENANCE, READ_ONLY
from homeport.guard import sources
from homeport.journal.store import Transaction
from homeport.kernel.ids import (
    AppName,
    ChangeId,
    EnvironmentName,
    ProcessName,
    ReleaseId,
    ServiceName,
    is_name,
    release_number,
)
from homeport.kernel.text import did_you_mean
from homeport.rollout import config as configuration
from homeport.rollout import desired, modes, state
from homeport.rollout.data import wanted
from homeport.rollout.errors import (
    BAD_CONFIG,
    GATED,
    INVALID_NAME,
    ROUTE_TAKEN,
    UNDECLARED,
    UNKNOWN_PROCESS,
)
from homeport.rollout.model import Config, Environment, Instance, Release, ReleaseState
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import gate
from homeport.spec.model import PREVIEW, Spec


def check(parts: Parts, app: AppName, environment: EnvironmentName, spec: Spec) -> None:
    """Raise what would make this spec fail on this machine, beside the apps that are here."""
    environments = parts.state.environments()
    specs = {(e.app, e.routing): parts.whole_spec(e.app, e.routing) for e in environments if e.routing}
    conflict = desired.route_conflict(app, environment, spec, environments, specs)
    if conflict is not None:
        route, other = conflict
        raise ROUTE_TAKEN.error(
            f"cannot route {route} to {app}: {other.app} ({other.name}) has it",
            hint=f'in homeport.toml write [environments.{environment}] domains = ["{environment}.{app}.localhost"]'
            if other.app == app
            else f'under [routes] in homeport.toml write "{app}.localhost" = "{route_process(spec, route)}", '
            f'or a domain of your own, instead of "{route}"',
        )
    for kind in (MAINTENANCE, READ_ONLY):
        modes.check(modes.of_process(spec, ServiceName("any"), kind))
    for process in spec.processes:
        sample = Instance(
            app,
            environment,
            ReleaseId("r0"),
            process.name,
            1,
            None,
            "",
            ChangeId(""),
            0,
            False,
            parts.clock.now(),
        )
        parts.runtime.check(
            desired.instance_spec(
                sample,
                process,
                spec,
                Config(),
                "/",
                tokens={},
                storage=parts.storage(app, environment, spec),
            )
        )


def spec_for(whole: Spec, environment: EnvironmentName) -> Spec:
    """The spec as it holds in an environment. Raises ``rollout.undeclared_environment``."""
    names = [name for name, _ in whole.environments]
    is_preview = whole.previews is not None and environment.startswith(PREVIEW)
    if names and not is_preview and environment not in (*names, whole.default_environment):
        raise UNDECLARED.error(
            f"cannot deploy to {environment!r}: the homeport.toml of {whole.app} declares no such environment",
            hint=did_you_mean(environment, [*names, whole.default_environment]),
        )
    return whole.for_environment(environment)


def is_gated(parts: Parts, app: AppName, environment: EnvironmentName, whole: Spec) -> bool:
    """Whether a deploy needs a person's approval: by the new release's spec, or by that of what serves."""
    now = environment_or_none(parts, app, environment)
    return gate.required(gatekeeper(parts, now) if now is not None else None, whole, environment)


def gatekeeper(parts: Parts, environment: Environment) -> Spec | None:
    """The whole spec whose gate holds besides a new release's own: that of the newest release that served the
    environment, where it has one, else that of what serves now. So a rollback to a release from before the
    gate does not open it. None: nothing serves.
    """
    if environment.serving is None:
        return None
    served = parts.state.served(environment.app, environment.name) | {environment.serving}
    newest = parts.whole_spec(environment.app, max(served, key=release_number))
    if gate.required(None, newest, environment.name):
        return newest
    return parts.whole_spec(environment.app, environment.serving)


def check_rollback(parts: Parts, environment: Environment, release: ReleaseId) -> None:
    """That a release to go back to served there before, where a gate asks for approvals. Raises ``rollout.gated``."""
    app, name = environment.app, environment.name
    found = parts.state.release(app, release)
    base = found.base or found.id
    served = {parts.state.release(app, r) for r in parts.state.served(app, name)}
    if any(base in (r.base, r.id) for r in served):
        return
    if is_gated(parts, app, name, desired.spec_of(found.spec)):
        raise GATED.error(
            f"cannot go back to {release} in {name}: it never served there, and {name} has a gate",
            hint="homeport pipeline run asks for approval; in an emergency homeport deploy COMMIT --past-gate REASON, "
            "which is recorded",
        )


def check_gate(parts: Parts, app: AppName, environment: EnvironmentName, whole: Spec, past_gate: str) -> bool:
    """Whether there is a gate that ``past_gate`` is the reason to pass. Raises ``rollout.gated`` without one."""
    gated = is_gated(parts, app, environment, whole)
    if gated and not past_gate.strip():
        raise GATED.error(
            f"cannot deploy to {environment}: it has a gate, and nobody approved this",
            hint="homeport pipeline run asks for approval; in an emergency --past-gate REASON, which is recorded",
        )
    return gated


def checked_config(
    parts: Parts, app: AppName, environment: EnvironmentName, spec: Spec, default: EnvironmentName
) -> dict[str, tuple[str, str]]:
    """Read what comes from outside, and refuse a configuration that does not fit, all faults at once.

    Returns (value, source) by name, of the values from outside. Raises ``rollout.bad_config``.
    """
    vault = parts.vault
    named = {v.name: v.source for v in spec.variables if v.source}
    values, problems = sources.read_all(named)
    before = environment_or_none(parts, app, environment)
    variables = dict(before.variables) if before else {}
    versions = {k: v for k, v in vault.versions(app, environment).items() if k not in named}
    # What a store gives is there when the deploy begins; its URL is no secret of the app's before.
    promised = wanted.given(spec)
    by_hand = parts.stores.taken(app, environment, spec) + [
        f"{name}: is given by {table}, and set by hand: homeport env unset {name}"
        for name, table in promised.items()
        if name in variables
    ]
    secrets = vault.values(app, environment, versions) | values
    spec_ = replace(spec, variables=tuple(v for v in spec.variables if v.name not in promised))
    flag = "" if environment == default else f" --env {environment}"
    problems += [*by_hand, *configuration.problems(spec_, variables, secrets, flag)]
    if problems:
        raise BAD_CONFIG.error(
            f"cannot deploy to {environment}: its configuration does not fit what {app} declares",
            hint="set what is missing, then deploy again; nothing was changed",
            details=problems,
        )
    return {name: (value, named[name]) for name, value in values.items()}


def config(
    parts: Parts,
    tx: Transaction,
    app: AppName,
    environment: EnvironmentName,
    now: Environment | None,
    outside: Mapping[str, tuple[str, str]],
) -> Config:
    """The environment's configuration as it is now; what comes from outside is sealed as a version."""
    vault = parts.vault
    versions = vault.versions(app, environment)
    for name, (value, source) in outside.items():
        versions[name] = vault.set(tx, app, environment, name, value, source=source)
    return Config.of(dict(now.variables) if now else {}, versions)


def with_config(
    parts: Parts,
    tx: Transaction,
    release: Release,
    environment: EnvironmentName,
    config: Config,
    id: ChangeId,
) -> ReleaseId:
    """A release of the same files that serves this environment with no other configuration.

    The release itself, when it never did; else one that did with this one; else a new one.
    """
    history = parts.state.deployments(release.app, environment)
    served = {d.release: d.config for d in reversed(history)}
    if served.get(release.id, config) == config:
        return release.id
    base = release.base or release.id
    for other in reversed(parts.state.releases(release.app)):
        same = base in (other.base, other.id) and other.state is ReleaseState.READY
        if same and served.get(other.id) == config:
            return other.id
    new = replace(
        release,
        id=state.next_release(tx, release.app),
        created_at=tx.now,
        change=id,
        base=base,
        size=0,
        build_seconds=None,
    )
    state.insert_release(tx, new)
    return new.id


def environment_or_none(parts: Parts, app: AppName, environment: EnvironmentName) -> Environment | None:
    return next((e for e in parts.state.environments(app) if e.name == environment), None)


def require_names(*, app: str, environment: str) -> None:
    for what, name in (("app", app), ("environment", environment)):
        if not is_name(name):
            raise INVALID_NAME.error(
                f"cannot use {name!r} as the name of an {what}",
                hint="1 to 40 of a-z, 0-9 and inner hyphens, beginning with a letter",
            )


def route_process(spec: Spec, route: str) -> str:
    """The process that a route of the spec leads to."""
    found = next((r.process for r in spec.routes if f"{r.host}{r.prefix}" == route), None)
    return found or "web"


def require_process(spec: Spec, name: str) -> ProcessName:
    """Raises ``rollout.unknown_process``."""
    process = spec.process(name)
    if process is None:
        raise UNKNOWN_PROCESS.error(
            f"cannot find process {name!r} of {spec.app}",
            hint=did_you_mean(name, [p.name for p in spec.processes]),
        )
    return process.name
