"""``[variables]``, ``[cron]``, ``[hooks]`` and ``[storage]``."""

from __future__ import annotations

from functools import partial

from homeport.spec.keys_config import VARIABLE
from homeport.spec.keys_jobs import CRON, HOOK, STORAGE
from homeport.spec.locate import Path
from homeport.spec.model import HOOKS, Cron, Hook, Storage, Variable
from homeport.spec.reading import Reading, Values
from homeport.spec.values import Name, ShellLine, VariableValue
from homeport.spec.variables import contradictions, declaration, name_problem

LONGEST_CRON_NAME = 30
MOST_CRONS = 200
MOST_VARIABLES = 1000


def read_variables(reading: Reading, document: Values) -> tuple[Variable, ...]:
    """Those of ``[variables]`` and, in older files, of ``[env]``, where they are plain values."""
    older = reading.table(document, ("env",))
    declared = reading.table(document, ("variables",))
    return reading.once("variables", (older, declared), lambda: _variables(reading, older, declared))


def _variables(reading: Reading, older: Values, declared: Values) -> tuple[Variable, ...]:
    if len(older) + len(declared) > MOST_VARIABLES:
        table = "variables" if declared else "env"
        count = len(older) + len(declared)
        reading.problems.add((table,), f"has {count:,} variables; at most {MOST_VARIABLES:,} are possible")
        return ()
    variables = [
        _plain(reading, ("env", name), value) for name, value in older.items() if _named(reading, "env", name)
    ]
    for name, value in declared.items():
        path = ("variables", name)
        if not _named(reading, "variables", name):
            continue
        if name in older:
            reading.problems.add(path, f"is also {reading.place(('env', name))}: take one of the two out")
        if isinstance(value, dict):
            variables.append(
                reading.once(f"variable {name}", (value,), partial(_declared, reading, path, value))
            )
        else:
            variables.append(_plain(reading, path, value))
    return tuple(variable for variable in variables if variable is not None)


def _named(reading: Reading, table: str, name: str) -> bool:
    reason = name_problem(name)
    if reason:
        reading.problems.add((table, name), reason)
    return reason is None


def _plain(reading: Reading, path: Path, value: object) -> Variable | None:
    try:
        return Variable(path[-1], VariableValue().read(value))
    except ValueError as error:
        reading.problems.add(path, str(error))
        return None


def _declared(reading: Reading, path: Path, data: Values) -> Variable:
    values = reading.keys(VARIABLE, path, data)
    for key, reason in contradictions(values):
        reading.problems.add((*path, key), reason)
    return declaration(path[-1], values)


def read_crons(reading: Reading, document: Values) -> tuple[Cron, ...]:
    """Without those that are not enabled, which are checked all the same."""
    found = reading.named(document, "cron", "nightly")
    if len(found) > MOST_CRONS:
        reading.problems.add(("cron",), f"has {len(found)} commands; at most {MOST_CRONS} are possible")
        return ()
    crons = (
        reading.once(f"cron {name}", (data,), partial(_cron, reading, name, data, tuple(found)))
        for name, data in found.items()
    )
    return tuple(cron for cron in crons if cron is not None)


def _cron(reading: Reading, name: str, data: Values, names: tuple[str, ...]) -> Cron | None:
    """None when it is left out, or cannot be read."""
    path = ("cron", name)
    try:
        Name(longest=LONGEST_CRON_NAME).read(name)
    except ValueError as error:
        reading.problems.add(path, str(error))
    values = reading.keys(CRON, path, data)
    enabled = values.pop("enabled", True)
    if not enabled and len(data) == 1:
        reading.problems.add(path, f"is no command that could be left out{_others(reading, name, names)}")
        return None
    if not reading.required(("schedule", "command"), path, data):
        return None
    if "schedule" not in values or "command" not in values:
        return None
    check_schedule(reading, path, values["schedule"], values.get("timezone", "UTC"))
    return Cron(name, **values) if enabled else None


def _others(reading: Reading, name: str, names: tuple[str, ...]) -> str:
    return reading.guess(name, tuple(other for other in names if other != name))


def check_schedule(
    reading: Reading, path: Path, schedule: str, timezone: str, name: str = "schedule"
) -> None:
    """``name``: what the schedule's key is called."""
    if reading.problems.is_long:
        return  # to see which zone was meant, or that no time ever comes, takes a tenth of a second
    for key, text, zone in ((name, schedule, "UTC"), ("timezone", schedule, timezone)):
        reason = reading.once(("schedule", text, zone), (), partial(_schedule_problem, text, zone))
        if reason:
            reading.problems.add((*path, key), reason)
            return


def _schedule_problem(text: str, zone: str) -> str:
    """Why it is no schedule; "" when it is one."""
    # Imported only for a file that has one: it reads the list of time zones.
    from homeport.spec.schedule import Schedule

    try:
        Schedule(text, zone)
    except ValueError as error:
        return "".join(c if c.isprintable() else "?" for c in str(error))
    return ""


def read_hooks(reading: Reading, document: Values) -> tuple[Hook, ...]:
    """In the order in which they run."""
    data = reading.table(document, ("hooks",))
    reading.refuse_unknown("hooks", ("hooks",), data)
    hooks = (_hook(reading, name, data[name]) for name in HOOKS if name in data)
    return tuple(hook for hook in hooks if hook is not None)


def _hook(reading: Reading, name: str, value: object) -> Hook | None:
    path = ("hooks", name)
    if isinstance(value, dict):
        values = reading.keys(HOOK, path, value)
        fits = reading.required(("command",), path, value) and "command" in values
        return Hook(name, **values) if fits else None
    try:
        return Hook(name, ShellLine().read(value))
    except ValueError as error:
        reading.problems.add(path, str(error))
        return None


def read_storage(reading: Reading, document: Values) -> tuple[Storage, ...]:
    """No two of them at the same path, or one inside the other."""
    source = (document.get("storage"),)
    return reading.once("storage", source, partial(_storage, reading, document))


def _storage(reading: Reading, document: Values) -> tuple[Storage, ...]:
    kept = []
    for name, data in reading.named(document, "storage", "uploads").items():
        path = ("storage", name)
        try:
            Name().read(name)
        except ValueError as error:
            reading.problems.add(path, str(error))
        values = reading.keys(STORAGE, path, data)
        if reading.required(("path",), path, data) and "path" in values:
            kept.append(Storage(name, values["path"]))
    _refuse_nested(reading, kept)
    return tuple(kept)


def _refuse_nested(reading: Reading, storages: list[Storage]) -> None:
    # In the order of their parts, what lies inside a directory comes right behind it.
    order = sorted(storages, key=lambda storage: storage.path.split("/"))
    outer: Storage | None = None
    for storage in order:
        if outer is None or not f"{storage.path}/".startswith(f"{outer.path}/"):
            outer = storage
            continue
        how = "is the same directory as" if storage.path == outer.path else "lies inside of the one of"
        reading.problems.add(
            ("storage", storage.name, "path"), f"{how} {reading.place(('storage', outer.name, 'path'))}"
        )
