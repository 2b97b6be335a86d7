"""Who somebody is and what they may: a port, and what stands behind it until there are people and roles."""

import re
from dataclasses import dataclass
from typing import Protocol

from homeport.kernel.ids import AppName, EnvironmentName

HOMEPORT = "homeport"
"""The actor of what Homeport does itself."""
_NAMESAKE = f"{HOMEPORT}@localhost"
_MAIL = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True)
class Person:
    name: str


class Identities(Protocol):
    def person(self, actor: str) -> Person:
        """Whom the actor of a call is."""
        ...

    def may(self, person: Person, action: str, app: AppName, environment: EnvironmentName) -> bool:
        """Whether a person may do something ("approve") to an environment of an app."""
        ...


def actor_of(login: str) -> str:
    """As whom a user of this machine is recorded: one whose login is "homeport" is not Homeport itself."""
    return _NAMESAKE if login == HOMEPORT else login


class LocalIdentities:
    """The actor is the user of this machine who calls, and every such user may do everything."""

    def person(self, actor: str) -> Person:
        return Person(HOMEPORT if actor == _NAMESAKE else actor)

    def may(self, person: Person, action: str, app: AppName, environment: EnvironmentName) -> bool:
        return True


def is_author(person: Person, author: str) -> bool:
    """Whether a commit's author ("Anna <anna@example.com>", or a name, or a mail address) is a person.

    They are the same when the name or the part of the mail address before the @ equals the person's name,
    without regard to case.
    """
    found = _MAIL.search(author)
    mail = found[1] if found else (author if "@" in author else "")
    names = {_MAIL.sub("", author).strip(), mail.partition("@")[0].strip(), mail.strip()} - {""}
    return person.name.casefold() in {n.casefold() for n in names}
