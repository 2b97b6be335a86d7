"""Text for supervisor: golden files, escapes, and what it cannot hold."""

import configparser
import shlex
from pathlib import Path

import pytest

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import InstanceName
from homeport.runtime import commands
from homeport.runtime.commands import Program
from homeport.runtime.layout import Layout
from homeport.runtime.model import InstanceSpec

LAYOUT = Layout(Path("/srv/port"))
NAME = InstanceName("shop.production.r1.web.1")


def spec(command: str = "serve", **more: object) -> InstanceSpec:
    return InstanceSpec(NAME, command, "/srv/app", (("PORT", "20001"),), **more)


def test_program_file() -> None:
    argv = ("/usr/bin/python3", "-I", "-S", "/lib/launch.py", "/srv/port/supervisor/instances/x.json")
    assert (
        commands.render_program(spec(stop_grace=2.5), argv)
        == """\
[program:shop.production.r1.web.1]
command=/usr/bin/python3 -I -S /lib/launch.py /srv/port/supervisor/instances/x.json
directory=/
priority=500
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs=3
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=NONE
"""
    )


def test_supervisord_conf() -> None:
    programs = (
        Program("serve", ("/bin/homeport", "serve"), (("A", "x,y"), ("B", "")), priority=20, stop_wait=5),
        Program("haproxy", ("/usr/sbin/haproxy", "-W", "-f", "/srv/port/edge/100%.cfg"), priority=10),
    )
    assert (
        commands.render_supervisord(LAYOUT, programs, nodaemon=True, user="root")
        == """\
; Written by Homeport; changes are lost.
[unix_http_server]
file=/srv/port/supervisor/supervisor.sock
chmod=0700

[supervisord]
logfile=/srv/port/logs/supervisord.log
logfile_maxbytes=10000000
logfile_backups=3
loglevel=info
pidfile=/srv/port/supervisor/supervisord.pid
directory=/
umask=022
nodaemon=true
minfds=1024
minprocs=200
nocleanup=true
user=root

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=programs/*.conf services/*.conf

[program:haproxy]
command=/usr/sbin/haproxy -W -f /srv/port/edge/100%%.cfg
directory=/
environment=
priority=10
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs=10
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=/srv/port/logs/haproxy.log
stdout_logfile_maxbytes=10000000
stdout_logfile_backups=3

[program:serve]
command=/bin/homeport serve
directory=/
environment=A="x,y",B=""
priority=20
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs=5
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=/srv/port/logs/serve.log
stdout_logfile_maxbytes=10000000
stdout_logfile_backups=3
"""
    )


@pytest.mark.parametrize(
    "value",
    ["plain", "with blank", "100%", "%(x)s", "a'b", 'a"b', "a,b=c", "ünï", "semi;colon", "x#y", "$HOME"],
)
def test_supervisor_reads_back_what_was_written(value: str) -> None:
    from supervisor.datatypes import dict_of_key_value_pairs

    text = commands.render_supervisord(LAYOUT, [Program("p", ("/bin/x", value), (("KEY", value),))])
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    assert shlex.split(parser["program:p"]["command"] % {}) == ["/bin/x", value]
    assert dict_of_key_value_pairs(parser["program:p"]["environment"] % {}) == {"KEY": value}


@pytest.mark.parametrize("value", ["a\nb", "a ;b", "a #b", "'quoted'", "both ' and \"", "%(here)s"])
def test_a_value_that_the_format_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        commands.render_supervisord(LAYOUT, [Program("p", ("/bin/x",), (("KEY", value),))])


@pytest.mark.parametrize(
    "path", ["relative", "/a[b]", "/a*", "/a ;b", "/a\nb", "/a ", "/%(here)s", "/" + "long/" * 20]
)
def test_a_data_directory_that_cannot_be_written_is_refused(path: str) -> None:
    with pytest.raises(HomeportError) as e:
        commands.render_supervisord(Layout(Path(path)), ())
    assert e.value.code == "runtime.bad_data_directory"
    assert e.value.sentence.startswith("cannot ")


@pytest.mark.parametrize("path", ["/var/lib/homeport", "/home/jo doe/100% mine", "/ü/;x"])
def test_unusual_data_directories_are_fine(path: str) -> None:
    commands.render_supervisord(Layout(Path(path)), ())


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("serve --port $PORT", "exec serve --port $PORT"),
        ("  .venv/bin/serve  ", "exec .venv/bin/serve"),
        ('serve "a b"', 'exec serve "a b"'),
        ("cd x", "trap 'exit 143' TERM\ncd x"),
        ("A=1 serve", "trap 'exit 143' TERM\nA=1 serve"),
        ("a && b", "trap 'exit 143' TERM\na && b"),
        ("a\nb", "trap 'exit 143' TERM\na\nb"),
        ("serve `x`", "trap 'exit 143' TERM\nserve `x`"),
        ("exec serve", "trap 'exit 143' TERM\nexec serve"),
        ("[ -e x ]", "trap 'exit 143' TERM\n[ -e x ]"),
        ("", "trap 'exit 143' TERM\n"),
    ],
)
def test_shell_line(command: str, line: str) -> None:
    assert commands.shell_line(command) == line


def test_marks_win_over_the_environment_and_defaults_lose() -> None:
    s = InstanceSpec(NAME, "x", "/", (("PATH", "/mine"), ("HOMEPORT_OWNER", "forged")))
    environment = commands.complete_environment(s, (("HOMEPORT_OWNER", "/srv/port"),))
    assert environment == {"PATH": "/mine", "LANG": "C.UTF-8", "HOMEPORT_OWNER": "/srv/port"}


def test_a_document_holds_secrets_sealed_and_what_opens_them() -> None:
    marks = (("HOMEPORT_OWNER", "/srv/port"),)
    sealed = spec(secrets=(("TOKEN", "gAAA1"), ("HOMEPORT_OWNER", "gAAA2")))
    document = commands.instance_document(sealed, LAYOUT, marks, "group")
    assert document["secrets"] == {"TOKEN": "gAAA1"}
    assert document["key"] == "/srv/port/secrets.key"
    assert (Path(str(document["packages"])) / "cryptography" / "fernet.py").exists()
    plain = commands.instance_document(spec(), LAYOUT, marks, "group")
    assert not {"secrets", "key", "packages"} & plain.keys()


@pytest.mark.parametrize("name", ["shop.production.r1.web.1", "a.b.r12.c-d.30"])
def test_instances(name: str) -> None:
    assert commands.is_instance(name)


@pytest.mark.parametrize(
    "name", ["haproxy", "serve", "shop.production.web", "a.b.r0.c.1", "a.b.r1.c.1\n", "../a.b.r1.c.1"]
)
def test_not_instances(name: str) -> None:
    assert not commands.is_instance(name)


def test_exits_are_read_from_supervisords_log() -> None:
    log = """\
2026-01-01 00:00:00,000 INFO spawned: 'a.b.r1.c.1' with pid 7
2026-01-01 00:00:00,000 WARN exited: a.b.r1.c.1 (exit status 3; not expected)
2026-01-01 00:00:00,000 INFO exited: a.b.r1.c.2 (exit status 0; expected)
2026-01-01 00:00:00,000 WARN exited: a.b.r1.c.3 (terminated by SIGKILL; not expected)
2026-01-01 00:00:00,000 WARN exited: a.b.r1.c.4 (terminated by SIGSEGV (core dumped); not expected)
2026-01-01 00:00:00,000 WARN exited: a.b.r1.c.5 (terminated by signal 40; not expected)
2026-01-01 00:00:00,000 WARN exited: a.b.r1.c.6 (exit status 1; not expected)
2026-01-01 00:00:00,000 WARN stopped: a.b.r1.c.6 (terminated by SIGTERM)
"""
    assert dict(commands.parse_exits(log)) == {
        "a.b.r1.c.1": "status 3",
        "a.b.r1.c.2": "status 0",
        "a.b.r1.c.3": "signal 9 (SIGKILL)",
        "a.b.r1.c.4": "signal 11 (SIGSEGV), core dumped",
        "a.b.r1.c.5": "signal 40",
        "a.b.r1.c.6": "",
    }
