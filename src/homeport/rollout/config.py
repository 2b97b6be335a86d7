"""What an instance is given, where each value comes from, and what is wrong with it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.data.wanted import sqlite_urls
from homeport.rollout.model import Config
from homeport.spec.model import Spec
from homeport.spec.variables import problem

Origin = Literal["app", "environment", "set by hand", "secret", "outside", "Homeport"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable as an instance sees it."""

    name: str
    value: str | None
    """None for a secret: its value is told by nobody but ``reveal``."""
    origin: Origin
    version: int | None = None
    """Of a secret."""
    description: str = ""


def from_spec(spec: Spec) -> dict[str, str]:
    """The variables that the code brings along."""
    return {v.name: v.value for v in spec.variables if v.value is not None}


def given(
    app: AppName, environment: EnvironmentName, release: ReleaseId | str, process: str
) -> dict[str, str]:
    """What Homeport tells every instance, beside ``PORT``."""
    return {
        "HOMEPORT_APP": app,
        "HOMEPORT_ENVIRONMENT": environment,
        "HOMEPORT_RELEASE": release,
        "HOMEPORT_PROCESS": process,
    }


def settings(
    base: Spec,
    environment: EnvironmentName,
    release: ReleaseId,
    process: str,
    config: Config,
    storage: Mapping[str, str] | None = None,
) -> tuple[Setting, ...]:
    """What an instance of a process sees, by name. ``base`` is the whole spec of the release."""
    spec = base.for_environment(environment)
    everywhere = from_spec(base)
    declared = {v.name: v for v in spec.variables}
    found: dict[str, Setting] = {}

    def put(setting: Setting) -> None:
        found[setting.name] = setting

    def words(name: str) -> str:
        return declared[name].description if name in declared else ""

    for name, value in from_spec(spec).items():
        own = spec is not base and everywhere.get(name) != value
        put(Setting(name, value, "environment" if own else "app", description=words(name)))
    for name, value in config.variables:
        put(Setting(name, value, "set by hand", description=words(name)))
    for name, version in config.secrets:
        outside = name in declared and bool(declared[name].source)
        put(Setting(name, None, "outside" if outside else "secret", version, words(name)))
    for name, value in given(base.app, environment, release, process).items():
        put(Setting(name, value, "Homeport"))
    for s in spec.storage:
        path = (storage or {}).get(s.name, s.path)
        put(Setting(storage_variable(s.name), path, "Homeport"))
    for name, url in sqlite_urls(spec, storage or {}).items() if storage else ():
        put(Setting(name, url, "Homeport", description=words(name)))
    if spec.is_routed(process):
        put(Setting("PORT", "a free port", "Homeport"))
    return tuple(found[name] for name in sorted(found))


def storage_variable(name: str) -> str:
    return f"HOMEPORT_STORAGE_{name.upper().replace('-', '_')}"


def problems(
    spec: Spec, variables: Mapping[str, str], secrets: Mapping[str, str], flag: str = ""
) -> list[str]:
    """Why an environment's spec cannot be deployed with these values set by hand and these secrets.

    No secret's value is told. ``flag`` is what the commands that would mend it need, such as " --env qa".
    """
    found = []
    for v in spec.variables:
        if v.name in secrets:
            why = problem(v, secrets[v.name])
        elif v.secret and v.name in variables:
            why = f"is a secret: homeport secrets set {v.name}{flag}; homeport env unset {v.name}{flag}"
        elif v.name in variables:
            why = problem(v, variables[v.name])
        elif v.required and v.value is None:
            how = f"homeport secrets set {v.name}{flag}" if v.secret else f"homeport env set {v.name}=…{flag}"
            why = f"is required and has no value: {how}"
        else:
            continue
        if why is not None:
            words = f" ({v.description})" if v.description else ""
            found.append(f"{v.name}: {why}{words}")
    return found
