"""Secrets on their way into real processes, and out of what those print."""

import base64
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from supervised_home import Home, wait_for

from homeport.runtime import launch, logd
from homeport.system import seal

VALUE = "s3cr3t/Value+with 'quotes\" & ünï=0123456789"
PEM = (
    "-----BEGIN KEY-----\n"
    + "\n".join(f"MIIEvQIBADANBgkqhkiG9w0BAQ{n}" for n in range(9))
    + "\n-----END-----\n"
)
RAW = VALUE.encode()


def seal_box(home: Home) -> seal.Box:
    if not home.layout.key_file.exists():
        home.layout.key_file.touch(0o600)
        home.layout.key_file.write_bytes(seal.new_key() + b"\n")
    return seal.Box(seal.read_keys(str(home.layout.key_file)))


def sealed(home: Home, **values: str) -> tuple[tuple[str, str], ...]:
    box = seal_box(home)
    return tuple((key, box.seal(value)) for key, value in values.items())


def spellings(value: str) -> list[bytes]:
    """What is searched for: told apart from the masker's own list."""
    raw = value.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode(), quote(value, safe="").encode()]
    found += [json.dumps(value)[1:-1].encode(), repr(value)[1:-1].encode(), repr(raw)[2:-1].encode()]
    for n in range(3):
        # Without the characters at both ends that hold bits of what stands beside the value.
        found.append(base64.b64encode(b"\0" * n + raw + b"\0\0")[4:-8])
    lines = [line.encode() for line in value.splitlines() if len(line) >= 6]
    return found + (lines if len(lines) > 1 else [])


def every_file(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def assert_nowhere(home: Home, value: str) -> None:
    for path, content in every_file(home.data).items():
        for spelling in spellings(value):
            assert spelling not in content, (path, spelling, content)


PRINTING = """
import base64, os, sys, time
value = os.environ["TOKEN"].encode()
out = sys.stdout.buffer
def say(data):
    out.write(data); out.flush()
if os.path.exists("first"):
    say(b"again\\n")
    time.sleep(1000)
open("first", "w").close()
say(b"raw " + value + b" end\\n")
for n in range(3):
    say(b"base64 " + base64.b64encode(b"x" * n + value + b"yy") + b" end\\n")
say(b"wrapped\\n" + base64.encodebytes(b"some text before, forty bytes of it ......" + value + b"!" * 80))
say(b"a pause " + value[:20]); time.sleep(0.7); say(value[20:] + b" end\\n")
say(b"halves " + value[:20])
while not os.path.exists("go"):
    time.sleep(0.01)
say(value[20:] + b" end\\n")
say(b"a" * 65530 + value + b"b" * 70000 + value[:5]); time.sleep(0.1); say(value[5:] + b"c" * 64000 + b"\\n")
say(os.environ["PEM"].encode() + b"pem end\\n")
for line in os.environ["PEM"].splitlines():
    say(b"pem: " + line.encode() + b"\\n"); time.sleep(0.01)
say(b"last words " + value)
os._exit(3)
"""


def test_what_an_instance_prints_of_its_secrets_is_nowhere_on_disk(home: Home) -> None:
    script = home.script(PRINTING)
    instance = home.start(
        home.spec(1, script, ("TOKEN", "plain"), secrets=sealed(home, TOKEN=VALUE, PEM=PEM))
    )
    home.wait_line(instance, "halves [secret]")  # the rest of the value was not waited for
    (home.data / "go").touch()
    lines = home.wait_line(instance, "again")
    text = "\n".join(lines)
    assert "raw [secret] end" in lines
    assert text.count("base64 ") == 3
    assert lines[lines.index("halves [secret]") + 1].strip() == "end"
    assert "pem end" in lines
    assert text.count("pem: [secret]") == len(PEM.splitlines())
    assert "last words [secret]" in lines
    assert "plain" not in text
    long = "".join(line for line in lines if "aaaa" in line or "bbbb" in line or "cccc" in line)
    assert (long.count("a" * 1000), long.count("b" * 1000), long.count("c" * 1000)) == (65, 70, 64)
    assert_nowhere(home, VALUE)
    assert_nowhere(home, PEM.strip())


@pytest.fixture
def dumping_home(bare_home: Home) -> Iterator[Home]:
    """What its supervisord starts may dump core."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        bare_home.supervise()
        yield bare_home
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def test_the_value_is_in_the_environment_and_core_dumps_are_off(dumping_home: Home) -> None:
    home = dumping_home
    plain = home.start(home.spec(2, "echo core $(ulimit -Sc); exec sleep 1000"))
    wait_for(lambda: home.runtime.log_tail(plain))
    assert home.runtime.log_tail(plain) != ("core 0",), "this machine forbids core dumps: nothing is tested"
    instance = home.start(
        home.spec(
            1,
            'printf %s "$TOKEN" | sha256sum; echo core $(ulimit -Sc); exec sleep 1000',
            ("TOKEN", "plain"),
            ("OTHER", "stays"),
            secrets=sealed(home, TOKEN=VALUE),
        )
    )
    home.wait_line(instance, f"{hashlib.sha256(RAW).hexdigest()}  -")
    home.wait_line(instance, "core 0")
    record = wait_for(lambda: home.layout.launched(instance).read_text())
    environ = Path(f"/proc/{record.split()[0]}/environ").read_bytes().split(b"\0")
    assert b"TOKEN=" + RAW in environ
    assert b"OTHER=stays" in environ
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert RAW not in path.read_bytes()
        except OSError:
            continue


def test_a_log_daemon_that_is_killed_masks_on(home: Home) -> None:
    script = home.script(
        "import os, time\nfor n in range(400):\n    print(n, os.environ['TOKEN'], flush=True)\n    time.sleep(0.01)\n"
        "print('end', flush=True)\ntime.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, script, secrets=sealed(home, TOKEN=VALUE)))
    home.wait_line(instance, "20 [secret]")
    (pid,) = home.marked("logd")
    os.kill(pid, signal.SIGKILL)
    lines = home.wait_line(instance, "end")
    assert "399 [secret]" in lines
    assert_nowhere(home, VALUE)


def make_missing(key: Path) -> str:
    key.unlink()
    return f"cannot open {key}: there is no such file"


def make_readable(key: Path) -> str:
    key.chmod(0o640)
    return f"cannot use {key}: others may read it (mode 0640)"


def make_foreign(key: Path) -> str:
    key.write_bytes(seal.new_key() + b"\n")
    return "cannot open TOKEN: it was sealed with another key"


@pytest.mark.parametrize("spoil", [make_missing, make_readable, make_foreign])
def test_without_its_key_an_instance_does_not_start_and_says_why(home: Home, spoil: object) -> None:
    secrets = sealed(home, TOKEN=VALUE)
    before = home.layout.key_file.read_bytes()
    why = spoil(home.layout.key_file)
    instance = home.start(home.spec(1, "echo started; exec sleep 1000", secrets=secrets))
    lines = home.wait_line(instance, f"homeport: cannot start {instance}: {why}")
    assert lines[0] == f"homeport: output is withheld because its secrets cannot be opened: {why}"
    wait_for(lambda: (home.status(instance) or home.status(instance)).exit == "status 111")
    home.layout.key_file.unlink(missing_ok=True)
    home.layout.key_file.touch(0o600)
    home.layout.key_file.write_bytes(before)
    home.wait_line(instance, "started")  # supervisor tries again, and so does the log daemon


def test_output_is_withheld_when_only_the_log_daemon_cannot_open_the_secrets(home: Home) -> None:
    script = home.script(
        "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n"
        "for n in range(5):\n    print(n, os.environ['TOKEN'], flush=True)\n    time.sleep(0.05)\n"
        "open('done', 'w').close()\ntime.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, script, secrets=sealed(home, TOKEN=VALUE)))
    other = home.start(home.spec(2, "while sleep 0.05; do echo tick; done"))
    home.wait_line(instance, "up")
    home.layout.key_file.unlink()
    (pid,) = home.marked("logd")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: home.marked("logd"))
    (home.data / "go").touch()
    wait_for(lambda: (home.data / "done").exists())
    home.wait_line(other, "tick")
    wait_for(lambda: any("is withheld" in line for line in home.runtime.log_tail(instance)))
    home.runtime.stop((instance,))
    wait_for(lambda: "homeport: 5 lines were withheld here" in home.runtime.log_tail(instance))
    assert sum("is withheld" in line for line in home.runtime.log_tail(instance)) == 1
    assert not any("[secret]" in line for line in home.runtime.log_tail(instance))
    assert_nowhere(home, VALUE)


def test_new_secrets_under_an_old_name_are_masked_from_the_first_byte(home: Home) -> None:
    secrets = sealed(home, TOKEN="the-first-value-0001")
    instance = home.start(home.spec(1, 'echo "$TOKEN"; exit 1', secrets=secrets))
    home.wait_line(instance, "[secret]")
    (pid,) = home.marked("logd")
    os.kill(pid, signal.SIGSTOP)
    home.layout.instance(instance).write_text(
        home.layout.instance(instance).read_text().replace(secrets[0][1], seal_box(home).seal(VALUE))
    )
    pids = len(home.runtime.log_tail(instance))
    wait_for(lambda: (home.status(instance) or home.status(instance)).exit)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: len(home.runtime.log_tail(instance)) > pids + 2, seconds=30)
    assert_nowhere(home, VALUE)
    assert_nowhere(home, "the-first-value-0001")


def test_resealing_keeps_what_runs_and_what_starts(home: Home) -> None:
    secrets = sealed(home, TOKEN=VALUE)
    script = 'echo "up $TOKEN"; while sleep 0.05; do [ -e now ] && echo "now $TOKEN" && break; done; exec sleep 1000'
    instance = home.start(home.spec(1, script, secrets=secrets))
    home.start(home.spec(2, "exec sleep 1000"))
    home.wait_line(instance, "up [secret]")
    key, fresh = home.layout.key_file, seal.new_key()
    key.write_bytes(fresh + b"\n" + key.read_bytes())
    box = seal.Box(seal.read_keys(str(key)))
    document = home.layout.instance(instance)
    cut_off = document.with_name(f".{document.name}.abcdefgh")
    cut_off.write_text(secrets[0][1])
    assert home.runtime.reseal(box.reseal) == 1
    assert home.runtime.reseal(box.reseal) == 1
    key.write_bytes(fresh + b"\n")
    assert all(secrets[0][1].encode() not in content for content in every_file(home.data).values())
    assert document.stat().st_mode & 0o777 == 0o600
    (home.data / "now").touch()
    home.wait_line(instance, "now [secret]")
    record = home.layout.launched(instance).read_text()
    os.kill(int(record.split()[0]), signal.SIGKILL)
    wait_for(lambda: home.runtime.log_tail(instance).count("up [secret]") == 2)
    assert_nowhere(home, VALUE)


def test_a_document_that_the_log_daemon_does_not_find_starts_nothing(home: Home) -> None:
    instance = home.start(home.spec(1, "echo ran; exec sleep 1000", secrets=sealed(home, TOKEN=VALUE)))
    home.wait_line(instance, "ran")
    document = json.loads(home.layout.instance(instance).read_text())
    assert launch.is_masked(str(home.layout.instance(instance)), document)
    assert not launch.is_masked(str(home.data / "elsewhere.json"), document)
    run = home.data / "cron" / "shop.production.cron.report.1" / "run.json"
    assert launch.is_masked(str(run), {"fifo": str(home.layout.fifo("shop.production.cron.report.1"))})
    assert launch.DOCUMENTS == logd.DOCUMENTS
    home.runtime.stop((instance,))
    elsewhere = home.data / "elsewhere.json"
    document["fifo"] = str(home.layout.fifo("other"))
    elsewhere.write_text(json.dumps(document))
    argv = [sys.executable, "-I", "-S", launch.__file__, str(elsewhere)]
    assert subprocess.run(argv, timeout=20).returncode == 111


def test_output_without_a_document_is_withheld(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    source = logd.Source(str(tmp_path / "fifo"), str(tmp_path / "log"), [str(tmp_path / "gone")], [])
    source.look(0, has_output=False)
    with open(tmp_path / "fifo", "wb") as f:
        f.write(b"who knows what\n")
    assert source.read(b"T ", 0)
    source.close(b"T ", 0)
    assert (tmp_path / "log").read_text() == (
        "T homeport: output is withheld because its secrets cannot be opened: its document is gone\n"
        "T homeport: 1 lines were withheld here\n"
    )


def test_a_plain_document_masks_nothing_and_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "document").write_text('{"name": "x"}')
    source = logd.Source(str(tmp_path / "fifo"), str(tmp_path / "log"), [str(tmp_path / "document")], [])
    with open(tmp_path / "fifo", "wb") as f:
        f.write(b"plain\n")
    assert source.read(b"T ", 0)
    assert source.secrets is None
    (tmp_path / "document").unlink()  # forgotten: its last words are kept
    with open(tmp_path / "fifo", "wb") as f:
        f.write(b"last words")
    source.close(b"T ", 0)
    assert (tmp_path / "log").read_text() == "T plain\nT last words\n"


def test_a_child_that_hangs_is_ended_and_others_are_read_meanwhile(bare_home: Home) -> None:
    home = bare_home
    secrets = sealed(home, TOKEN=VALUE)
    stub = home.root / "packages" / "cryptography"
    stub.mkdir(parents=True)
    (stub / "fernet.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(1000)\n"
    )
    (stub / "__init__.py").touch()
    home.supervise()
    (pid,) = home.marked("logd")
    os.kill(pid, signal.SIGSTOP)
    instance = home.start(home.spec(1, 'echo "$TOKEN"; exec sleep 1000', secrets=secrets))
    other = home.start(home.spec(2, "while sleep 0.05; do echo tick; done"))
    wait_for(lambda: home.layout.launched(instance).exists())
    wait_for(lambda: not home.launching())
    document = json.loads(home.layout.instance(instance).read_text())
    document["packages"] = str(stub.parent)
    home.layout.instance(instance).write_text(json.dumps(document, indent=1))
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: list(home.runtime.log_tail(other, 1000)).count("tick") > 20)
    assert home.runtime.log_tail(instance) == ()
    wait_for(lambda: any("no answer in 5 s" in line for line in home.runtime.log_tail(instance)))
    assert_nowhere(home, VALUE)
