"""Caches on a real Redis: what an app may do there and what not, and what survives what."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from direct_services import DirectSecrets, DirectServices
from resp import Resp, RespError

from homeport.database.redis.commands import hashed
from homeport.database.redis.model import Ready
from homeport.database.redis.service import Caches
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.spec.model_database import Cache
from homeport.system.clock import RealClock
from homeport.system.seal import new_key

SHOP = (AppName("shop"), EnvironmentName("production"))
MAIN = Cache("main")
SERVICE = "redis.shop.production.main"


class Home:
    def __init__(self, root: Path) -> None:
        self.root = root / "redis"
        self.services = DirectServices(root)
        self.secrets = DirectSecrets()
        self.keys = [new_key()]
        self.caches = Caches(self.root, self.services, self.secrets, lambda: self.keys, RealClock())

    def ensure(self, cache: Cache = MAIN) -> Ready:
        return self.caches.ensure(*SHOP, cache)


@pytest.fixture
def home() -> Iterator[Home]:
    with TemporaryDirectory(prefix="hp-redis-", dir="/tmp") as directory:
        root = Path(directory)
        root.chmod(0o755)
        it = Home(root)
        try:
            yield it
        finally:
            it.services.close()


def test_an_app_gets_a_cache_of_its_own_by_its_url(home: Home) -> None:
    ready = home.ensure()
    assert (ready.name, ready.variable) == ("main", "REDIS_URL")
    assert home.secrets.get(*SHOP, "REDIS_URL") == ready.url.reveal()
    with Resp(ready.url.reveal()) as app:
        assert app.ask("SET", "a", "1") == "OK"
        assert app.ask("GET", "a") == "1"
        assert app.ask("ACL", "WHOAMI") == "shop.production"
        assert app.ask("EVAL", "return redis.call('GET', KEYS[1])", "1", "a") == "1"
        for command in (
            ("INFO",),
            ("KEYS", "*"),
            ("CLIENT", "LIST"),
            ("ROLE",),
            ("FLUSHDB",),
            ("SELECT", "1"),
        ):
            app.ask(*command)


@pytest.mark.parametrize(
    "words",
    [
        ("CONFIG", "SET", "dir", "/tmp"),
        ("CONFIG", "GET", "*"),
        ("ACL", "SETUSER", "shop.production", "+@all"),
        ("ACL", "LIST"),
        ("DEBUG", "SLEEP", "0"),
        ("MODULE", "LOAD", "/x.so"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("MIGRATE", "127.0.0.1", "1", "a", "0", "1"),
        ("SHUTDOWN", "NOSAVE"),
        ("SAVE",),
        ("BGSAVE",),
        ("MONITOR",),
        ("CLIENT", "KILL", "TYPE", "normal"),
    ],
    ids=" ".join,
)
def test_what_is_the_servers_is_not_for_the_app(home: Home, words: tuple[str, ...]) -> None:
    with Resp(home.ensure().url.reveal()) as app:
        with pytest.raises(RespError, match=r"NOPERM|not allowed"):
            app.ask(*words)


def test_nobody_gets_in_without_the_password(home: Home) -> None:
    url = home.ensure().url.reveal()
    password = urlsplit(url).password or ""
    for wrong in (
        url.replace(password, "x"),
        url.replace("shop.production:", "default:"),
        url.replace(f"shop.production:{password}", "default:"),
        url.replace("shop.production:", "homeport:"),
        url.replace("shop.production:", "shop.staging:"),
    ):
        with pytest.raises(RespError, match="WRONGPASS"):
            Resp(wrong)


def test_two_caches_are_apart(home: Home) -> None:
    one = home.ensure()
    other = home.caches.ensure(AppName("blog"), SHOP[1], Cache("sessions"))
    assert other.variable == "SESSIONS_REDIS_URL"
    assert urlsplit(one.url.reveal()).port != urlsplit(other.url.reveal()).port
    crossed = other.url.reveal().replace(
        f":{urlsplit(other.url.reveal()).port}/", f":{urlsplit(one.url.reveal()).port}/"
    )
    with pytest.raises(RespError, match="WRONGPASS"):
        Resp(crossed)
    assert [(s.app, s.name, s.running, s.keys) for s in home.caches.list()] == [
        ("blog", "sessions", True, 0), ("shop", "main", True, 0),
    ]  # fmt: skip


def test_no_password_is_on_disk_or_in_a_log_and_others_cannot_read_what_is(home: Home) -> None:
    ready = home.ensure()
    password = urlsplit(ready.url.reveal()).password or ""
    assert password not in repr(ready)
    files = [path for path in home.root.parent.rglob("*") if path.is_file()]
    assert any(hashed(password) in path.read_text("utf-8", "replace") for path in files)
    for path in files:
        assert password.encode() not in path.read_bytes(), path
    for path in home.root.rglob("*"):
        assert path.stat().st_mode & 0o007 == 0, path
    status = home.services.status(SERVICE)
    assert status is not None
    assert password.encode() not in Path(f"/proc/{status.pid}/cmdline").read_bytes()


def test_ensuring_again_changes_nothing_and_restarts_nothing(home: Home) -> None:
    url = home.ensure().url.reveal()
    with Resp(url) as app:
        app.ask("SET", "a", "1")
        assert home.ensure().url.reveal() == url
        assert app.ask("GET", "a") == "1"
    assert home.services.starts == {SERVICE: 1}


def test_what_the_spec_changes_is_changed_while_it_runs(home: Home) -> None:
    url = home.ensure().url.reveal()
    with Resp(url) as app:
        app.ask("SET", "a", "1")
        assert home.ensure(Cache("main", memory=128_000_000, persistent=True)).url.reveal() == url
        assert app.ask("GET", "a") == "1"
    [status] = home.caches.list()
    assert (status.limit, status.persistent, status.keys) == (128_000_000, True, 1)
    assert home.services.starts == {SERVICE: 1}


@pytest.mark.parametrize("persistent", [True, False])
def test_only_a_persistent_cache_outlives_its_process(home: Home, persistent: bool) -> None:
    cache = Cache("main", persistent=persistent)
    url = home.ensure(cache).url.reveal()
    with Resp(url) as app:
        app.ask("SET", "a", "1")
        app.ask("WAIT", "0", "0")
    home.services.stop(SERVICE)
    assert home.caches.list()[0].running is False
    assert home.ensure(cache).url.reveal() == url
    with Resp(url) as app:
        assert app.ask("GET", "a") == ("1" if persistent else None)


def test_a_killed_server_comes_back_with_the_same_url(home: Home) -> None:
    url = home.ensure().url.reveal()
    home.services.kill(SERVICE)
    assert home.ensure().url.reveal() == url
    Resp(url).close()


def test_a_full_cache_drops_the_oldest_and_takes_new_ones(home: Home) -> None:
    with Resp(home.ensure(Cache("main", memory=8_000_000)).url.reveal()) as app:
        for n in range(200):
            assert app.ask("SET", f"k{n}", "x" * 100_000) == "OK"
        assert 0 < app.ask("DBSIZE") < 200
        assert app.ask("GET", "k199") == "x" * 100_000


def test_a_rotation_keeps_both_passwords_until_the_old_one_is_retired(home: Home) -> None:
    old = home.ensure().url.reveal()
    with Resp(old) as app:
        new = home.caches.rotate(*SHOP, MAIN).url.reveal()
        assert new != old
        assert home.secrets.get(*SHOP, "REDIS_URL") == new
        assert home.ensure().url.reveal() == new
        for url in (old, new):
            Resp(url).close()
        home.services.kill(SERVICE)
        home.ensure()
        for url in (old, new):
            Resp(url).close()
    with Resp(old) as app:
        assert home.caches.retire(*SHOP, MAIN).url.reveal() == new
        assert app.ask("PING") == "PONG"
    Resp(new).close()
    with pytest.raises(RespError, match="WRONGPASS"):
        Resp(old)


def test_a_change_of_keys_takes_effect_without_a_restart_while_the_old_key_is_known(home: Home) -> None:
    url = home.ensure().url.reveal()
    home.keys.insert(0, new_key())
    home.ensure()
    del home.keys[1]
    assert home.ensure().url.reveal() == url
    assert home.caches.list()[0].keys == 0
    assert home.services.starts == {SERVICE: 1}


def test_a_server_of_a_lost_key_starts_anew_and_keeps_its_url(home: Home) -> None:
    url = home.ensure().url.reveal()
    home.keys[:] = [new_key()]
    assert home.ensure().url.reveal() == url
    Resp(url).close()
    assert home.services.starts == {SERVICE: 2}


def test_a_removed_cache_leaves_nothing(home: Home) -> None:
    url = home.ensure().url.reveal()
    home.caches.remove(*SHOP, "main")
    assert home.secrets.values == {}
    assert list(home.root.iterdir()) == []
    assert home.services.status(SERVICE) is None
    home.caches.remove(*SHOP, "main")
    assert home.ensure().url.reveal() != url
    with pytest.raises(HomeportError) as caught:
        home.caches.status(*SHOP, "other")
    assert caught.value.code == "database.unknown_cache"


def test_a_data_directory_longer_than_a_sockets_path_may_be(home: Home) -> None:
    long = Home(home.root.parent / ("long " + "x" * 120))
    long.root.parent.mkdir(mode=0o755)
    try:
        Resp(long.ensure().url.reveal()).close()
    finally:
        long.services.close()


@pytest.mark.parametrize("interrupted_at", ["mkdir", "users.acl", "redis.conf", "start"])
def test_one_that_was_cut_off_while_it_was_made_is_made(
    home: Home, interrupted_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homeport.database.redis import service

    class Cut(Exception):
        pass

    write = service.files.write_atomic

    def cut(*_: object, **__: object) -> None:
        raise Cut

    def write_or_cut(path: Path, text: str, *, mode: int) -> None:
        if path.name == interrupted_at:
            raise Cut
        write(path, text, mode=mode)

    with monkeypatch.context() as patch:
        if interrupted_at == "mkdir":
            patch.setattr(service, "_make", cut)
        elif interrupted_at == "start":
            patch.setattr(home.services, "start", cut)
        else:
            patch.setattr(service.files, "write_atomic", write_or_cut)
        with pytest.raises(Cut):
            home.ensure()
    url = home.secrets.get(*SHOP, "REDIS_URL")
    assert home.ensure().url.reveal().split("@")[0] == (url or "").split("@")[0]
    Resp(home.ensure().url.reveal()).close()


def test_one_whose_port_a_stranger_holds_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from homeport.database.redis import service

    url = home.ensure().url.reveal()
    home.services.kill(SERVICE)
    port = urlsplit(url).port or 0
    with monkeypatch.context() as patch, socket.create_server(("127.0.0.1", port)):
        patch.setattr(service, "PATIENCE", 5.0)
        with pytest.raises(HomeportError) as caught:
            home.ensure()
    assert caught.value.code == "database.redis_failed"
    assert caught.value.sentence.startswith(
        "cannot start cache main of shop in production: Redis did not answer"
    )
    assert any("Address already in use" in line for line in caught.value.details)
    assert home.ensure().url.reveal() == url


def test_a_new_password_is_valid_before_anybody_is_given_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.ensure()
    given = []
    keep = home.secrets.set

    def set_(app: str, environment: str, name: str, value: str) -> None:
        Resp(value).close()
        given.append(value)
        keep(app, environment, name, value)

    monkeypatch.setattr(home.secrets, "set", set_)
    assert given == [home.caches.rotate(*SHOP, MAIN).url.reveal()]


def test_two_that_are_made_at_once_have_a_port_each(home: Home) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: home.ensure(Cache(f"c{n}")), range(4)))
    assert len({urlsplit(ready.url.reveal()).port for ready in made}) == 4
    for ready in made:
        Resp(ready.url.reveal()).close()


def test_a_server_keeps_the_environment_by_which_homeport_finds_it(home: Home) -> None:
    home.ensure()
    status = home.services.status(SERVICE)
    assert status is not None
    assert Path(f"/proc/{status.pid}/environ").read_bytes().startswith(b"PATH=")


def test_one_that_was_just_made_persistent_ends_when_it_is_asked_to(home: Home) -> None:
    with Resp(home.ensure().url.reveal()) as app:
        app.ask("EVAL", "for n = 1, 200000 do redis.call('SET', n, 'some value of some length') end", "0")
    home.ensure(Cache("main", persistent=True))
    home.services.stop(SERVICE)
