"""Modes as data: what is wrong with one, and the maps by which HAProxy obeys them. Pure.

Five maps, all empty while no service has a mode, so that a request without one costs one look-up:

- ``modes.map``: service → its mode's name, ``<service>/<kind>``; the one that every request asks.
- ``mode-texts.map``: a mode's name → its page, base64; with ``.json`` its problem document, with
  ``/retry`` its Retry-After, with ``/page`` the app's own page. Also ``<network>/<name>`` for each
  network whose clients pass.
- ``mode-networks.map``: network → itself, for HAProxy's longest match of a client's address.
- ``mode-exempt.map``: a mode's name and an exempt prefix, ended by "/".
- ``asleep.map``: service → itself, while it is asleep (:mod:`homeport.edge.hold`). In ``modes.map`` it has
  the name of its mode all the same, or else ``<service>/asleep``.

People's text is in base64 there, so nothing in it can end a line, a command or a value.
"""

import base64
import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from homeport.edge import pages
from homeport.edge.model import EdgeState, Mode

MAINTENANCE = "maintenance"
READ_ONLY = "read-only"
ASLEEP = "asleep"
"""Stands for no mode at all, of a service whose requests are held."""

MAX_PAGE = 10 * 1024
"""Bytes of an app's own page: in base64, a runtime command with it fits HAProxy's buffer of 16 kB."""
MAX_MESSAGE = 1000
"""Characters."""
MAX_ENTRIES = 100
"""Networks, and exempt paths, of one mode."""
MAX_RETRY_AFTER = 30 * 86400

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "CONNECT")
"""What passes read-only. CONNECT opens a tunnel, as a WebSocket's GET does, and changes nothing by itself."""

UNCLEAR = r"\.\.|//|\\|%(2[5ef]|5c|c[01]|00)"
"""A path that holds one of these is never exempt, in upper or lower case: the app might read it as another
path. Dots that climb, empty parts, backslashes, and the same (or a NUL, or a byte that no UTF-8 has)
percent-encoded."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_ALL_4 = ipaddress.IPv4Network("0.0.0.0/0")
_ALL_6 = ipaddress.IPv6Network("::/0")
_EXEMPT = re.compile(r"/[!-~]*")
_MEANINGFUL = set(";\\\"'<>#?")


def name(mode: Mode) -> str:
    """A mode's name in the maps; services have no "/" in theirs."""
    return f"{mode.service}/{mode.kind}"


def effective(state: EdgeState) -> tuple[Mode, ...]:
    """The modes in force: one for a service at most, maintenance first; none of services that are gone."""
    known = {service.name for service in state.services}
    chosen: dict[str, Mode] = {}
    for mode in state.modes:
        if mode.service in known and (mode.service not in chosen or mode.kind == MAINTENANCE):
            chosen[mode.service] = mode
    return tuple(chosen[service] for service in sorted(chosen))


# What is wrong


def problems(mode: Mode) -> tuple[str, ...]:
    """All that keeps a mode from being put in force, for people; () for a good one."""
    found = []
    if mode.kind not in (MAINTENANCE, READ_ONLY):
        found.append(f"{mode.kind!r} is no mode; there are {MAINTENANCE} and {READ_ONLY}")
    if not 1 <= mode.retry_after <= MAX_RETRY_AFTER:
        found.append(f"retry after {mode.retry_after} s is not within 1 to {MAX_RETRY_AFTER} (30 days)")
    found += _message_problems(mode.message)
    found += _page_problems(mode)
    for what, values, check in (
        ("network", mode.allow, _network_problem),
        ("exempt path", mode.exempt, _exempt_problem),
    ):
        if len(values) > MAX_ENTRIES:
            found.append(f"{len(values)} {what}s are more than {MAX_ENTRIES}")
        found += [f"{what} {_shown(value)}: {why}" for value in values if (why := check(value))]
    return tuple(found)


def all_problems(state: EdgeState) -> tuple[str, ...]:
    """:func:`problems` of every mode, and modes that are there twice."""
    found = []
    seen: set[str] = set()
    for mode in state.modes:
        found += [f"{mode.kind} of {mode.service}: {problem}" for problem in problems(mode)]
        if name(mode) in seen:
            found.append(f"{mode.kind} of {mode.service}: there twice")
        seen.add(name(mode))
    return tuple(found)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "…")


def _message_problems(message: str) -> list[str]:
    found = []
    if len(message) > MAX_MESSAGE:
        found.append(f"the message has {len(message)} characters; {MAX_MESSAGE} at most")
    for character in sorted(set(message)):
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and character not in "\n\t"):
            found.append(f"the message holds the control character U+{ord(character):04X}")
    return found


def _page_problems(mode: Mode) -> list[str]:
    if not mode.page:
        return []
    if mode.kind == READ_ONLY:
        return ["a page of the app's own is for maintenance only"]
    try:
        size = len(mode.page.encode())
    except UnicodeEncodeError:
        return ["the page is not valid Unicode text"]
    if size > MAX_PAGE:
        return [f"the page has {size} bytes; {MAX_PAGE} at most"]
    if "\0" in mode.page:
        return ["the page holds a NUL character"]
    return []


def _network_problem(text: str) -> str:
    if "%" in text:
        return "a network has no zone"
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return "not an IP network, such as 192.0.2.0/24 or 2001:db8::/32"
        return f"the address is no network's first; {meant} is the network around it"
    return ""


def _exempt_problem(path: str) -> str:
    if not _EXEMPT.fullmatch(path) or _MEANINGFUL & set(path):
        return "not a path that begins with / and is written as in a URL, without a query"
    if re.search(UNCLEAR, path, re.IGNORECASE):
        return "paths with .., // or encoded slashes and dots are never exempt"
    return ""


# Networks


def network(text: str) -> Network:
    """A network of ``allow``; IPv4 written as IPv6 becomes IPv4. Raises ValueError."""
    found = ipaddress.ip_network(text)
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - 96))
    return found


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, ipaddress.IPv4Network):
        return isinstance(inner, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, ipaddress.IPv6Network) and inner.subnet_of(outer)


def passing(modes: Iterable[Mode]) -> dict[Network, frozenset[str]]:
    """Each network that matters → the names of the modes that its clients pass.

    The longest of these networks that holds an address has the right answer for it: a network's value
    is the union over all that contain it. Both families are there whole, if only with nobody, so that
    HAProxy never takes an address of one for one of the other.
    """
    given = {(network(text), name(mode)) for mode in modes for text in mode.allow}
    if not given:
        return {}
    return {
        inner: frozenset(who for outer, who in given if _contains(outer, inner))
        for inner in {_ALL_4, _ALL_6, *(outer for outer, _ in given)}
    }


def network_entries(networks: Iterable[Network]) -> dict[str, str]:
    """IPv4 is there twice: a client of a listener for both families has an address like ::ffff:192.0.2.1."""
    entries = {}
    for one in networks:
        entries[str(one)] = str(one)
        if isinstance(one, ipaddress.IPv4Network):
            entries[f"::ffff:{one.network_address}/{one.prefixlen + 96}"] = str(one)
    return entries


# Maps


@dataclass(frozen=True, slots=True)
class Entries:
    """What the five maps hold. What is looked up last is named first, as it has to be put in first."""

    networks: Mapping[str, str]
    exempt: Mapping[str, str]
    texts: Mapping[str, str]
    asleep: Mapping[str, str]
    modes: Mapping[str, str]


def entries(state: EdgeState) -> Entries:
    """Only for a state without :func:`all_problems`."""
    modes = effective(state)
    networks = passing(modes)
    texts: dict[str, str] = {}
    for mode in modes:
        texts |= _texts(mode)
    for one, names in networks.items():
        texts |= {f"{one}/{who}": "passes" for who in names}
    return Entries(
        networks=network_entries(networks),
        exempt={
            f"{name(mode)}{prefix.rstrip('/')}/": "passes"
            for mode in modes
            if mode.kind == READ_ONLY
            for prefix in mode.exempt
        },
        texts=texts,
        asleep={service.name: service.name for service in state.services if service.asleep},
        modes={str(service.name): f"{service.name}/{ASLEEP}" for service in state.services if service.asleep}
        | {mode.service: name(mode) for mode in modes},
    )


_WORDS = {
    MAINTENANCE: ("Down for maintenance", "This site is being worked on. Please come back in a while."),
    READ_ONLY: ("Read-only for now", "Nothing can be changed just now. Looking around works as usual."),
}


def _texts(mode: Mode) -> dict[str, str]:
    title, words = _WORDS[mode.kind]
    message = mode.message or words
    html, document = pages.notice(title, message)
    key = name(mode)
    texts = {key: _encoded(html), f"{key}.json": _encoded(document), f"{key}/retry": str(mode.retry_after)}
    if mode.page:
        texts[f"{key}/page"] = _encoded(mode.page)
    return texts


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
