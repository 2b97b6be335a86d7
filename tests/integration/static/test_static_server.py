"""The static server as Homeport starts it, over a real socket."""

import gzip
import hashlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_port

from homeport.runtime.commands import shell_line
from homeport.runtime.static_site import IMMUTABLE, REVALIDATE, command

CSS = b"body { color: teal }\n" * 200


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    port: int
    process: subprocess.Popen[bytes]
    public: Path

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


def start(release: Path, directory: str) -> Server:
    port = free_port()
    environment = {"PORT": str(port), "PATH": os.environ["PATH"], "PYTHONPATH": str(release)}
    process = subprocess.Popen(
        ["/bin/sh", "-c", shell_line(command(directory))],
        cwd=release,
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return Server(port, process, release / directory)
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)


def end(server: Server) -> None:
    if server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    release = tmp_path_factory.mktemp("release")
    (release / "starlette.py").write_text("raise SystemExit('the site is not a Python path')")
    (release / "secret.txt").write_text("secret")
    public = release / "my public"
    (public / "about").mkdir(parents=True)
    (public / "index.html").write_text("<h1>Home</h1>")
    (public / "about" / "index.html").write_text("<h1>About</h1>")
    (public / "404.html").write_text("<h1>Not here</h1>")
    (public / "app.3f9a1c2b.css").write_bytes(CSS)
    (public / "app.3f9a1c2b.css.gz").write_bytes(gzip.compress(CSS))
    (public / "app.3f9a1c2b.css.br").write_bytes(b"pretend this is brotli")
    (public / "current.css").symlink_to("app.3f9a1c2b.css")
    (public / "plain.js").write_text("1")
    (public / "plain.js.gz").symlink_to(release / "secret.txt")
    (public / "empty.txt").write_text("")
    for name in (
        "a.woff2",
        "a.webp",
        "a.wasm",
        "a.webmanifest",
        "a.svg",
        "a.json",
        "a.tar.gz",
        "a.unknown",
        "Ä.txt",
    ):
        (public / name).write_text("x")
    (public / ".env").write_text("secret")
    (public / ".git").mkdir()
    (public / ".git" / "config").write_text("secret")
    (public / ".well-known").mkdir()
    (public / ".well-known" / "security.txt").write_text("Contact: x")
    (public / "out.txt").symlink_to(release / "secret.txt")
    (public / "outside").symlink_to(release)
    (public / "hidden-behind").symlink_to(".git")
    (public / ".linked").symlink_to("index.html")
    (public / "loop").symlink_to("loop")
    os.mkfifo(public / "pipe")
    with open(public / "big.bin", "wb") as f:
        f.truncate(2 * 1024**3)
        f.seek(2 * 1024**3 - 5)
        f.write(b"the e")
    made = start(release, "my public")
    yield made
    end(made)


def test_pages_and_directories(server: Server) -> None:
    home = server.ask("/")
    assert (home.status, home.body) == (200, b"<h1>Home</h1>")
    assert home.headers["content-type"] == "text/html; charset=utf-8"
    assert home.headers["cache-control"] == REVALIDATE
    assert "vary" not in home.headers
    assert server.ask("/about/").body == b"<h1>About</h1>"
    assert server.ask("/%C3%84.txt").body == b"x"
    assert server.ask("/empty.txt").headers["content-length"] == "0"


def test_a_directory_without_its_slash_redirects_to_where_it_came_from(server: Server) -> None:
    found = server.ask("/about?x=1&y=%2F")
    assert (found.status, found.headers["location"]) == (307, "/about/?x=1&y=%2F")
    assert server.ask("//about").headers["location"] == "/about/", "not to a host named about"


@pytest.mark.parametrize(
    "path", ["/missing", "/about/missing.css", "/pipe", "/loop", "/" + "x" * 300, "/%00"]
)
def test_what_is_not_there_answers_404_with_the_sites_own_page(server: Server, path: str) -> None:
    found = server.ask(path)
    assert (found.status, found.body) == (404, b"<h1>Not here</h1>")
    assert found.headers["cache-control"] == REVALIDATE


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/about/../../secret.txt",
        "/..\\secret.txt",
        "//etc/passwd",
        "/%2Fetc/passwd",
        "/out.txt",
        "/outside/secret.txt",
        "/.env",
        "/.git/config",
        "/hidden-behind/config",
        "/.linked",
        "/about/../.env",
    ],
)
def test_nothing_outside_or_hidden_is_served(server: Server, path: str) -> None:
    found = server.ask(path)
    assert found.status == 404
    assert b"secret" not in found.body and b"root:" not in found.body


def test_well_known_is_not_hidden(server: Server) -> None:
    assert server.ask("/.well-known/security.txt").status == 200


def test_precompressed_files_go_to_those_who_take_them(server: Server) -> None:
    path = "/app.3f9a1c2b.css"
    plain = server.ask(path)
    assert plain.body == CSS and "content-encoding" not in plain.headers
    small = server.ask(path, Accept_Encoding="gzip")
    assert gzip.decompress(small.body) == CSS and small.headers["content-encoding"] == "gzip"
    smallest = server.ask(path, Accept_Encoding="gzip, deflate, br")
    assert smallest.headers["content-encoding"] == "br" and smallest.body == b"pretend this is brotli"
    for found in (plain, small, smallest):
        assert found.headers["content-type"] == "text/css; charset=utf-8"
        assert found.headers["vary"] == "Accept-Encoding"
        assert found.headers["cache-control"] == IMMUTABLE
    assert len({x.headers["etag"] for x in (plain, small, smallest)}) == 3


def test_a_copy_of_the_same_size_and_time_has_a_tag_of_its_own(server: Server) -> None:
    for name in ("twin.txt", "twin.txt.gz"):
        (server.public / name).write_text("same size")
        os.utime(server.public / name, ns=(10**18, 10**18))
    tags = {server.ask("/twin.txt", Accept_Encoding=e).headers["etag"] for e in ("gzip", "identity")}
    assert len(tags) == 2


def test_a_precompressed_file_that_is_a_link_is_left_alone(server: Server) -> None:
    assert server.ask("/plain.js", Accept_Encoding="gzip").body == b"1"


def test_a_link_to_a_hashed_file_is_not_cached_for_good(server: Server) -> None:
    assert server.ask("/current.css").headers["cache-control"] == REVALIDATE


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_what_the_browser_has_is_not_sent_again(server: Server, encoding: str) -> None:
    first = server.ask("/app.3f9a1c2b.css", Accept_Encoding=encoding)
    tag = first.headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = server.ask("/app.3f9a1c2b.css", Accept_Encoding=encoding, If_None_Match=sent)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["vary"] == "Accept-Encoding"
        assert again.headers["cache-control"] == IMMUTABLE
    assert server.ask("/app.3f9a1c2b.css", Accept_Encoding=encoding, If_None_Match='"other"').status == 200
    since = first.headers["last-modified"]
    assert server.ask("/app.3f9a1c2b.css", Accept_Encoding=encoding, If_Modified_Since=since).status == 304


def test_a_new_file_of_the_same_size_has_a_new_tag(server: Server) -> None:
    file = server.public / "changing.html"
    file.write_text("one")
    os.utime(file, ns=(10**18, 10**18))
    before = server.ask("/changing.html").headers["etag"]
    file.write_text("two")
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))
    assert server.ask("/changing.html", If_None_Match=before).body == b"two"


def test_ranges(server: Server) -> None:
    found = server.ask("/app.3f9a1c2b.css", Range="bytes=5-9")
    assert (found.status, found.body) == (206, CSS[5:10])
    assert found.headers["content-range"] == f"bytes 5-9/{len(CSS)}"
    assert server.ask("/app.3f9a1c2b.css", Range="bytes=-3").body == CSS[-3:]
    assert server.ask("/app.3f9a1c2b.css", Range="bytes=4000-").body == CSS[4000:]
    assert server.ask("/app.3f9a1c2b.css", Range="bytes=99999-").status == 416
    assert server.ask("/app.3f9a1c2b.css", Range="bytes=0-4", If_Range='"other"').body == CSS
    many = server.ask("/app.3f9a1c2b.css", Range="bytes=0-1,10-11")
    assert many.status == 206 and many.headers["content-type"].startswith("multipart/byteranges")


def test_head_says_what_get_would(server: Server) -> None:
    for path in ("/", "/app.3f9a1c2b.css", "/missing", "/big.bin"):
        head = server.ask(path, "HEAD")
        assert head.body == b""
        if path != "/big.bin":
            get = server.ask(path)
            head.headers.pop("date"), get.headers.pop("date")
            assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_and_head(server: Server, method: str) -> None:
    found = server.ask("/", method, Content_Length="0")
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.woff2", "font/woff2"),
        ("a.webp", "image/webp"),
        ("a.wasm", "application/wasm"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.svg", "image/svg+xml"),
        ("a.json", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.unknown", "application/octet-stream"),
        ("plain.js", "text/javascript; charset=utf-8"),
    ],
)
def test_content_types_do_not_depend_on_the_machine(server: Server, name: str, kind: str) -> None:
    found = server.ask(f"/{name}")
    assert found.headers["content-type"] == kind
    assert "content-encoding" not in found.headers


def test_two_gigabytes_pass_without_being_held(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/big.bin")
    response = connection.getresponse()
    buffer, size, last = bytearray(1 << 20), 0, b""
    while n := response.readinto(buffer):
        size += n
        last = (last + bytes(buffer[:n][-5:]))[-5:]
    connection.close()
    assert size == 2 * 1024**3 and last == b"the e"
    assert server.ask("/big.bin", Range="bytes=-5").body == b"the e"
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 200_000, "KB"


def test_ten_thousand_files(tmp_path: Path) -> None:
    public = tmp_path / "public"
    for n in range(100):
        (public / str(n)).mkdir(parents=True)
        for m in range(100):
            (public / str(n) / f"{m}.txt").write_text(f"{n}/{m}")
    server = start(tmp_path, "public")
    try:
        assert server.ask("/57/99.txt").body == b"57/99"
        missing = server.ask("/57/100.txt")
        assert (missing.status, missing.body) == (404, b"Not Found\n"), "no 404.html here"
    finally:
        end(server)


def test_a_download_in_hand_is_finished_after_sigterm(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    content = os.urandom(1 << 20) * 64
    (tmp_path / "public" / "film.mp4").write_bytes(content)
    server = start(tmp_path, "public")
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/film.mp4")
        response = connection.getresponse()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # more than the socket buffers hold is still to come
        assert server.process.poll() is None
        assert hashlib.sha256(response.read()).digest() == hashlib.sha256(content).digest()
        connection.close()
        assert server.process.wait(5) in (0, -signal.SIGTERM)
    finally:
        end(server)
