"""What a Redis server is told, as text."""

from homeport.database.redis import commands
from homeport.database.redis.model import Access, Server, Settings
from homeport.kernel.ids import AppName, EnvironmentName

SHOP = Server(AppName("shop"), EnvironmentName("production"), "main")
ACCESS = Access("a" * 64, ("b" * 64, "c" * 64))
SETTINGS = Settings(18_001, 64_000_000, False)


def test_names_of_a_server() -> None:
    assert (SHOP.service, SHOP.directory, SHOP.user) == (
        "redis.shop.production.main",
        "shop.production.main",
        "shop.production",
    )
    assert commands.server_of(SHOP.directory) == ("shop", "production", "main")
    assert commands.server_of("shop.production") is None
    assert commands.server_of("shop..main") is None


def test_the_service_of_a_server_with_the_longest_names_is_one() -> None:
    longest = [Server(AppName("a" * 40), EnvironmentName("b" * 40), "c" * 39 + end) for end in "de"]
    names = {server.service for server in longest}
    assert len(names) == 2
    assert {len(name) for name in names} == {120}


def test_the_file_of_users_has_hashes_of_passwords_only() -> None:
    text = commands.acl(SHOP, ACCESS)
    default, admin, app = text.splitlines()
    assert default == "user default reset off"
    assert admin.startswith(f"user homeport reset on #{'a' * 64} -@all ")
    assert app.startswith(
        f"user shop.production reset on #{'b' * 64} #{'c' * 64} ~* &* +@all -@admin -@dangerous "
    )
    assert commands.app_hashes(text, SHOP) == ACCESS.app
    assert commands.app_hashes(text, Server(SHOP.app, EnvironmentName("product"), "main")) == ()
    assert commands.app_hashes("", SHOP) == ()


def test_a_running_server_is_told_what_its_files_say() -> None:
    app, admin, config = commands.live(SHOP, SETTINGS, ACCESS).splitlines()
    rules = {line.split(" ", 2)[1]: line.split(" ", 2)[2] for line in commands.acl(SHOP, ACCESS).splitlines()}
    assert app == f"ACL SETUSER shop.production {rules['shop.production']}"
    assert admin == f"ACL SETUSER homeport {rules['homeport']}"
    assert config == "CONFIG SET maxmemory 64000000 appendonly no"
    assert commands.refused(["OK", "OK", "OK"]) == ""
    assert commands.refused(["OK", "ERR no"]) == "ERR no"


def test_the_configuration_file() -> None:
    lines = commands.conf('/srv/a "b"\\ä\x07', SETTINGS).splitlines()
    assert {
        "bind 127.0.0.1",
        "port 18001",
        "maxmemory 64000000",
        "appendonly no",
        "protected-mode yes",
    } <= set(lines)
    assert 'dir "/srv/a \\"b\\"\\\\ä\\x07/data"' in lines
    assert "appendonly yes" in commands.conf("/srv", Settings(1, 1, True))
    assert commands.port_of(commands.conf("/srv", SETTINGS)) == 18_001
    assert commands.port_of("") is None
    assert commands.argv("/bin/redis-server", "/srv") == ("/bin/redis-server", "/srv/redis.conf")


def test_the_password_of_a_url_is_known_only_where_the_url_is_the_servers_own() -> None:
    url = commands.url(SHOP, SETTINGS, "p_-w")
    assert url == "redis://shop.production:p_-w@127.0.0.1:18001/0"
    assert commands.password_of(url, SHOP) == "p_-w"
    for other in (
        None,
        "",
        "redis://managed.example.com:6379/0",
        url.replace("127.0.0.1", "example.com"),
        url.replace("shop.production", "shop.staging"),
        url.replace("redis:", "rediss:"),
        url.replace("p_-w", ""),
        "redis://[",
    ):
        assert commands.password_of(other, SHOP) is None


def test_the_password_of_homeport_differs_by_key_and_by_server() -> None:
    other = Server(SHOP.app, SHOP.environment, "sessions")
    made = {commands.admin_password(key, server) for key in (b"k1", b"k2") for server in (SHOP, other)}
    assert len(made) == 4
    assert commands.admin_password(b"k1", SHOP) in made


def test_what_redis_prints() -> None:
    assert commands.major_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc bits=64") == 7
    assert commands.major_version("Valkey") is None
    fields = commands.info(
        "# Memory\r\nused_memory:100\r\n# Keyspace\r\ndb0:keys=2,expires=1\r\ndb3:keys=40,x=1"
    )
    assert fields["used_memory"] == "100"
    assert commands.key_count(fields) == 42
