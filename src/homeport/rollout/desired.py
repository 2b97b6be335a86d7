"""What should run, derived from the state. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from homeport.edge import model as edge
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, release_number, service_name
from homeport.rollout import config as configuration
from homeport.rollout.data import wanted
from homeport.rollout.model import Config, Environment, Instance, Want
from homeport.runtime import static_site
from homeport.runtime.model import InstanceSpec
from homeport.spec.model import Process, Rollout, Spec
from homeport.spec.parse import parse


@lru_cache(maxsize=256)
def spec_of(text: str) -> Spec:
    """A stored ``homeport.toml``."""
    return parse(text)


def wants(spec: Spec, scale: Mapping[str, int]) -> tuple[Want, ...]:
    """How many instances of each process: as scaled by hand, else as the spec says."""
    return tuple(
        Want(
            p.name,
            spec.is_routed(p.name),
            scale.get(p.name, p.replicas),
            p.exclusive,
            p.start == "after-traffic",
        )
        for p in spec.processes
    )


def variables(
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    process: str,
    spec: Spec,
    config: Config,
    storage: Mapping[str, str],
) -> dict[str, str]:
    """The plain variables of a process. The environment's win over the spec's, Homeport's over all."""
    found = configuration.from_spec(spec) | dict(config.variables)
    found |= configuration.given(app, environment, release, process)
    found |= {configuration.storage_variable(name): path for name, path in storage.items()}
    return found | wanted.sqlite_urls(spec, storage)


def instance_spec(
    instance: Instance,
    process: Process,
    spec: Spec,
    config: Config,
    directory: str,
    *,
    tokens: Mapping[str, str],
    storage: Mapping[str, str],
) -> InstanceSpec:
    """All that starting an instance takes. ``tokens``: sealed secrets; ``storage``: directories, by name."""
    environment = variables(
        instance.app, instance.environment, instance.release, instance.process, spec, config, storage
    )
    if instance.port is not None:
        environment["PORT"] = str(instance.port)
    if process.heartbeat is not None:
        environment["HOMEPORT_HEARTBEAT"] = heartbeat_file(directory, process.heartbeat.file, instance.n)
    return InstanceSpec(
        name=instance.name,
        command=static_site.command(process.static) if process.static else process.command,
        directory=directory,
        environment=tuple(sorted(environment.items())),
        port=instance.port,
        user=process.user,
        memory=process.memory,
        cpu=process.cpu,
        stop_grace=process.stop_grace,
        secrets=tuple(sorted(tokens.items())),
    )


def heartbeat_file(directory: str, file: str, n: int) -> str:
    """Each instance has a file of its own."""
    return f"{directory}/{file}.{n}"


def edge_state(
    http: edge.Bind,
    https: edge.Bind | None,
    environments: tuple[Environment, ...],
    instances: tuple[Instance, ...],
    specs: Mapping[tuple[AppName, ReleaseId], Spec],
    modes: tuple[edge.Mode, ...] = (),
    moving: frozenset[tuple[AppName, EnvironmentName]] = frozenset(),
) -> edge.EdgeState:
    """What the edge should do: only instances that passed readiness are known to it.

    ``specs`` holds the spec of every release that has instances or routes. A process keeps its service
    while it has instances, so that those may finish what they have when its routes are gone. Where a change
    is at an environment (``moving``), requests for a service without instances in rotation wait for them.
    """
    services: dict[str, edge.Service] = {}
    routes: list[edge.Route] = []
    longest = 0.0
    for environment in environments:
        mine = [
            i
            for i in instances
            if (i.app, i.environment) == (environment.app, environment.name) and i.port is not None
        ]
        # The routing release's settings are the last word, so it comes last.
        releases = sorted({i.release for i in mine} - {environment.routing}, key=lambda r: int(r[1:]))
        if environment.routing is not None:
            releases.append(environment.routing)
        for release in releases:
            spec = specs[environment.app, release].for_environment(environment.name)
            longest = max(longest, spec.rollout.drain, spec.rollout.keep_warm, spec.rollout.watch_for)
            for process in spec.processes:
                if spec.is_routed(process.name):
                    service = _service(environment, process)
                    services[service.name] = replace(
                        service, servers=services[service.name].servers if service.name in services else ()
                    )
        for i in mine:
            if not i.ready:
                continue
            process_ = specs[i.app, i.release].for_environment(i.environment).process(i.process)
            assert process_ is not None
            name = service_name(i.app, i.environment, i.process)
            follow = i.weight > 0 or _is_older(i.release, environment.routing)
            server = edge.Server(i.name, i.port or 0, i.weight, process_.health.path, follow=follow)
            services[name] = replace(services[name], servers=(*services[name].servers, server))
        if environment.routing is not None:
            newest = max({environment.routing, *(i.release for i in mine if i.weight)}, key=release_number)
            rollout = specs[environment.app, newest].for_environment(environment.name).rollout
            spec = specs[environment.app, environment.routing].for_environment(environment.name)
            waits = (environment.app, environment.name) in moving
            for process in spec.processes:
                name = service_name(environment.app, environment.name, process.name)
                if name in services:
                    services[name] = _with_manners(services[name], rollout, waits)
            for route in spec.routes:
                routes.append(
                    edge.Route(
                        route.host,
                        route.prefix,
                        service_name(environment.app, environment.name, route.process),
                    )
                )
    return edge.EdgeState(
        http,
        https,
        tuple(services.values()),
        tuple(routes),
        tuple(mode for mode in modes if mode.service in services),
        drain_limit=max(900.0, longest + 60),
    )


def _is_older(release: ReleaseId, routing: ReleaseId | None) -> bool:
    """What was gone back from is the younger one: no browser is held at it."""
    return routing is not None and release_number(release) < release_number(routing)


def _with_manners(service: edge.Service, rollout: Rollout, waits: bool) -> edge.Service:
    """How visitors are kept to a release, and whether they wait."""
    in_rotation = [s for s in service.servers if s.weight > 0]
    sides = {s.name.split(".")[2] for s in in_rotation}
    stick = edge.PIN if rollout.pin else edge.SIDE if rollout.sticky and len(sides) > 1 else ""
    return replace(service, stick=stick, asleep=service.asleep or (waits and not in_rotation))


def _service(environment: Environment, process: Process) -> edge.Service:
    return edge.Service(
        name=service_name(environment.app, environment.name, process.name),
        asleep=environment.asleep,
        check_interval=process.health.interval,
        check_timeout=process.health.timeout,
        unhealthy_after=process.health.unhealthy_after,
        response_timeout=process.response_timeout,
    )


def route_conflict(
    app: AppName,
    environment: EnvironmentName,
    spec: Spec,
    environments: tuple[Environment, ...],
    specs: Mapping[tuple[AppName, ReleaseId], Spec],
) -> tuple[str, Environment] | None:
    """The first route of ``spec`` that another environment has already, and that environment."""
    mine = {(r.host, r.prefix) for r in spec.routes}
    for other in environments:
        if (other.app, other.name) == (app, environment) or other.routing is None:
            continue
        for route in specs[other.app, other.routing].for_environment(other.name).routes:
            if (route.host, route.prefix) in mine:
                return f"{route.host}{route.prefix}", other
    return None
