"""Names of things. A bare ``str`` is never passed where one of these is meant."""

import re
from typing import NewType

AppName = NewType("AppName", str)
EnvironmentName = NewType("EnvironmentName", str)
ProcessName = NewType("ProcessName", str)
ReleaseId = NewType("ReleaseId", str)
"""``r`` and the release's number within its app: r1, r2, …"""
InstanceName = NewType("InstanceName", str)
"""``<app>.<environment>.<release>.<process>.<n>``"""
ServiceName = NewType("ServiceName", str)
"""One routed process of one environment, over its releases: ``<app>.<environment>.<process>``"""
ChangeId = NewType("ChangeId", str)
RunId = NewType("RunId", str)
"""A run of a pipeline: ``p-`` and ten hex digits."""

NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")
"""App, environment and process names: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first.

Such a name is safe as a file name, a supervisor program, an HAProxy identifier and a DNS label.
"""

PRODUCTION = EnvironmentName("production")
"""Where an app is deployed to when nobody says."""

_RELEASE = re.compile(r"r[1-9][0-9]{0,8}")


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def is_release(text: str) -> bool:
    return _RELEASE.fullmatch(text) is not None


def release_number(release: ReleaseId) -> int:
    return int(release[1:])


def instance_name(
    app: AppName, environment: EnvironmentName, release: ReleaseId, process: ProcessName, n: int
) -> InstanceName:
    return InstanceName(f"{app}.{environment}.{release}.{process}.{n}")


def service_name(app: AppName, environment: EnvironmentName, process: ProcessName) -> ServiceName:
    return ServiceName(f"{app}.{environment}.{process}")
