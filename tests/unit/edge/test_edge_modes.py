"""Modes as data: what is refused, what the maps hold, who passes."""

import base64
import html
import ipaddress
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.edge import commands, modes, pages
from homeport.edge.model import Bind, EdgeState, Mode, Service
from homeport.edge.modes import MAX_ENTRIES, MAX_MESSAGE, MAX_PAGE, MAX_RETRY_AFTER
from homeport.kernel.ids import ServiceName

SHOP, SITE = ServiceName("shop.production.web"), ServiceName("site.production.web")
SERVICES = (Service(SHOP), Service(SITE))
DOWN = Mode(SHOP, "maintenance")
READ = Mode(SHOP, "read-only")


def state(*of: Mode) -> EdgeState:
    return EdgeState(Bind("0.0.0.0", 80), None, SERVICES, (), of)


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


GOOD = {
    "plain": DOWN,
    "a message of all kinds": replace(DOWN, message="\"'\\ %[src] <b> \n\t é 漢 🦊 ; # $x ${HOME}"),
    "the longest message": replace(DOWN, message="🦊" * MAX_MESSAGE),
    "the longest page": replace(DOWN, page="é" * (MAX_PAGE // 2)),
    "a page with control characters": replace(DOWN, page="\r\n\x0b\x1b\x7f"),
    "networks": replace(DOWN, allow=("10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1", "::/0", "0.0.0.0/0")),
    "exempt paths": replace(READ, exempt=("/", "/login", "/a/b/", "/a%20b", "/.well-known/x", "/~me")),
    "the longest wait": replace(DOWN, retry_after=MAX_RETRY_AFTER),
}
BAD = {
    "another kind": (replace(DOWN, kind="closed"), "'closed' is no mode"),
    "no wait": (replace(DOWN, retry_after=0), "retry after 0 s"),
    "a wait for months": (replace(DOWN, retry_after=MAX_RETRY_AFTER + 1), "30 days"),
    "a message too long": (replace(DOWN, message="x" * (MAX_MESSAGE + 1)), "1001 characters"),
    "a control character": (replace(DOWN, message="a\x1bb"), "U+001B"),
    "a carriage return": (replace(DOWN, message="a\r\nb"), "U+000D"),
    "a NUL": (replace(DOWN, message="\0"), "U+0000"),
    "half a character": (replace(DOWN, message="\ud800"), "U+D800"),
    "a C1 control": (replace(DOWN, message="\x85"), "U+0085"),
    "a page too long": (replace(DOWN, page="é" * (MAX_PAGE // 2) + "x"), f"{MAX_PAGE + 1} bytes"),
    "a page that is no text": (replace(DOWN, page="\udc80"), "not valid Unicode"),
    "a page with NUL": (replace(DOWN, page="a\0"), "NUL"),
    "a page for reading only": (replace(READ, page="x"), "for maintenance only"),
    "no network": (replace(DOWN, allow=("here",)), "'here': not an IP network"),
    "a command": (replace(DOWN, allow=("10.0.0.0/8; quit",)), "not an IP network"),
    "a network with host bits": (replace(DOWN, allow=("10.1.2.3/8",)), "10.0.0.0/8 is the network around"),
    "a zone": (replace(DOWN, allow=("fe80::1%eth0",)), "no zone"),
    "many networks": (replace(DOWN, allow=("::1",) * (MAX_ENTRIES + 1)), "101 networks"),
    "a path without /": (replace(READ, exempt=("login",)), "begins with /"),
    "an empty path": (replace(READ, exempt=("",)), "begins with /"),
    "a path with a space": (replace(READ, exempt=("/a b",)), "begins with /"),
    "a path with a line": (replace(READ, exempt=("/a\nb",)), "begins with /"),
    "a path with a query": (replace(READ, exempt=("/a?b",)), "without a query"),
    "a path that climbs": (replace(READ, exempt=("/a/../b",)), "never exempt"),
    "a path with an empty part": (replace(READ, exempt=("/a//b",)), "never exempt"),
    "a path with a hidden slash": (replace(READ, exempt=("/a%2Fb",)), "never exempt"),
    "many paths": (replace(READ, exempt=("/a",) * (MAX_ENTRIES + 1)), "101 exempt paths"),
}


@pytest.mark.parametrize("what", GOOD)
def test_good_modes(what: str) -> None:
    assert modes.problems(GOOD[what]) == ()


@pytest.mark.parametrize("what", BAD)
def test_bad_modes(what: str) -> None:
    mode, says = BAD[what]
    (problem,) = modes.problems(mode)
    assert says in problem
    assert problem.isprintable(), "an error is no place for control characters either"
    assert modes.all_problems(state(mode)) == (f"{mode.kind} of {SHOP}: {problem}",)


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = modes.all_problems(state(DOWN, replace(DOWN, message="\0", allow=("x", "y"), retry_after=0)))
    assert len(found) == 5 and found[-1].endswith("there twice")
    assert modes.all_problems(state(DOWN, READ, replace(DOWN, service=SITE))) == ()


def test_maintenance_wins_and_a_mode_goes_with_its_service() -> None:
    for order in ((DOWN, READ), (READ, DOWN)):
        assert modes.effective(state(*order)) == (DOWN,)
    gone = replace(state(DOWN, replace(READ, service=SITE)), services=SERVICES[1:])
    assert modes.effective(gone) == (replace(READ, service=SITE),)
    assert modes.entries(replace(gone, services=())) == modes.Entries({}, {}, {}, {}, {})
    assert modes.entries(state()) == modes.Entries({}, {}, {}, {}, {})


def test_a_service_that_sleeps_keeps_its_mode() -> None:
    asleep = replace(state(), services=tuple(replace(s, asleep=s.name == SHOP) for s in SERVICES))
    assert modes.entries(asleep).modes == {SHOP: f"{SHOP}/asleep"}
    assert modes.entries(asleep).asleep == {SHOP: SHOP}
    assert modes.entries(replace(asleep, modes=(READ,))).modes == {SHOP: f"{SHOP}/read-only"}
    assert modes.entries(replace(asleep, modes=(READ,))).asleep == {SHOP: SHOP}


@given(
    st.text(
        st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t\"'\\<>&%[];#${} "), min_size=1
    )
)
def test_a_message_comes_out_exactly(message: str) -> None:
    mode = replace(DOWN, message=message[:MAX_MESSAGE])
    assert modes.problems(mode) == ()
    texts = modes.entries(state(mode)).texts
    document = json.loads(decoded(texts[f"{SHOP}/maintenance.json"]) + "an-id" + pages.entries()["end.json"])
    assert (document["detail"], document["status"], document["request_id"]) == (mode.message, 503, "an-id")
    page = decoded(texts[f"{SHOP}/maintenance"])
    found = re.search('<p style="white-space:pre-wrap">(.*?)</p>', page)
    assert found is not None and html.unescape(found[1]) == mode.message
    assert "<" not in found[1]
    assert not any(ord(c) < 32 or ord(c) == 127 for c in page), "lf-string would write it as %0A"


def test_nothing_that_people_write_reaches_a_map_or_a_command_as_it_is() -> None:
    mode = replace(DOWN, message="a\nb; quit\n<<\n", page="\n\nshutdown sessions\n\\ '\"#", retry_after=7)
    on = state(mode, replace(READ, service=SITE, exempt=("/login", "/A%20b/")))
    assert modes.all_problems(on) == ()
    layout = commands.Layout(Path("/edge"))
    for file, entries in zip(layout.mode_maps, commands.mode_entries(on), strict=True):
        for key, value in entries.items():
            assert re.fullmatch(r"[A-Za-z0-9./:~%=+-]+ [A-Za-z0-9./:=+-]+", f"{key} {value}")
        assert len(commands.map_files(on, layout)[file].splitlines()) == len(entries) + 1


def test_the_longest_texts_fit_a_runtime_command() -> None:
    mode = replace(DOWN, message='"' * MAX_MESSAGE, page="x" * MAX_PAGE)
    for key, value in modes.entries(state(mode)).texts.items():
        assert len(commands.set_in_map(Path("/" + "d" * 200), key, value)) < 16384 - 1024
    assert len(decoded(modes.entries(state(mode)).texts[f"{SHOP}/maintenance"])) < 16384 - 4096


def test_entries() -> None:
    got = modes.entries(
        state(
            replace(DOWN, retry_after=60, page="<p>"),
            replace(READ, service=SITE, exempt=("/", "/Login/"), allow=("10.0.0.0/8",)),
        )
    )
    assert got.modes == {SHOP: f"{SHOP}/maintenance", SITE: f"{SITE}/read-only"}
    assert got.exempt == {f"{SITE}/read-only/": "passes", f"{SITE}/read-only/Login/": "passes"}
    assert got.texts[f"{SHOP}/maintenance/retry"] == "60"
    assert decoded(got.texts[f"{SHOP}/maintenance/page"]) == "<p>"
    assert got.texts[f"10.0.0.0/8/{SITE}/read-only"] == "passes"
    assert got.networks == {
        "0.0.0.0/0": "0.0.0.0/0",
        "::ffff:0.0.0.0/96": "0.0.0.0/0",
        "::/0": "::/0",
        "10.0.0.0/8": "10.0.0.0/8",
        "::ffff:10.0.0.0/104": "10.0.0.0/8",
    }
    assert len(got.texts) == 8


def test_ipv4_written_as_ipv6_is_ipv4() -> None:
    assert modes.network("::ffff:10.0.0.0/104") == ipaddress.IPv4Network("10.0.0.0/8")
    assert modes.network("::ffff:10.0.0.1") == ipaddress.IPv4Network("10.0.0.1/32")
    assert modes.network("::/0") == ipaddress.IPv6Network("::/0")


def networks() -> st.SearchStrategy[str]:
    """Few bits differ, so that they lie within each other often."""
    four = st.builds(
        lambda bits, length: str(ipaddress.ip_network((bits << 24, length), strict=False)),
        st.integers(0, 255), st.integers(0, 10),
    )  # fmt: skip
    six = st.builds(
        lambda bits, length: str(ipaddress.ip_network((bits << 120, length), strict=False)),
        st.integers(0, 255), st.integers(0, 10),
    )  # fmt: skip
    mapped = st.builds(
        lambda bits, length: str(
            ipaddress.ip_network(((0xFFFF << 32) | (bits << 24), length + 96), strict=False)
        ),
        st.integers(0, 255), st.integers(0, 10),
    )  # fmt: skip
    return four | six | mapped


def addresses() -> st.SearchStrategy[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return st.one_of(
        st.builds(lambda b: ipaddress.IPv4Address(b << 24), st.integers(0, 255)),
        st.builds(lambda b: ipaddress.IPv6Address(b << 120), st.integers(0, 255)),
        st.builds(lambda b: ipaddress.IPv6Address((0xFFFF << 32) | (b << 24)), st.integers(0, 255)),
    )


def lookup(entries: dict[str, str], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    """HAProxy's ``map_ip``: the longest match, an address of one family as the other when there is none."""
    tried: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [address]
    if isinstance(address, ipaddress.IPv4Address):
        tried.append(ipaddress.IPv6Address(f"::ffff:{address}"))
    else:
        tried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    for one in tried:
        nets = [n for n in map(ipaddress.ip_network, entries) if one in n]
        if nets:
            best = max(nets, key=lambda n: n.prefixlen)
            return next(v for k, v in entries.items() if ipaddress.ip_network(k) == best)
    return None


@given(
    st.lists(networks(), max_size=6),
    st.lists(networks(), max_size=6),
    st.lists(addresses(), min_size=1, max_size=20),
)
def test_who_passes_is_what_ipaddress_says(
    shop: list[str], site: list[str], clients: list[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> None:
    both = (replace(DOWN, allow=tuple(shop)), replace(READ, service=SITE, allow=tuple(site)))
    got = modes.entries(state(*both))
    for client in clients:
        found = lookup(dict(got.networks), client)
        person = client.ipv4_mapped or client if isinstance(client, ipaddress.IPv6Address) else client
        for mode in both:
            passes = f"{found}/{modes.name(mode)}" in got.texts
            assert passes is any(person in modes.network(text) for text in mode.allow), (client, mode)
