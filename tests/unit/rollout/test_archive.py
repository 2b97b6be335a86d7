"""Archives that are looked at before they are trusted."""

import io
import tarfile

import pytest

from homeport.kernel.errors import HomeportError
from homeport.rollout import archive

SPEC = b'[app]\nname = "shop"\n'


def make(path, *members, spec=SPEC):
    with tarfile.open(path, "w") as tar:
        if spec is not None:
            add(tar, "homeport.toml", spec)
        for member in members:
            add(tar, *member) if isinstance(member, tuple) else tar.addfile(member)
    return path


def add(tar, name, content=b"", mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def inspect(path, limit=10**9):
    return archive.inspect(path, limit=limit)


def test_a_plain_archive_gives_its_spec_and_its_files(tmp_path):
    path = make(
        tmp_path / "a.tar", ("bin/run", b"#!/bin/sh\n", 0o755), ("a/b/c.txt", b"hi"), link("here", "a/b")
    )
    text, _ = inspect(path)
    assert text == SPEC.decode()
    archive.unpack(path, tmp_path / "out")
    assert (tmp_path / "out/a/b/c.txt").read_text() == "hi"
    assert (tmp_path / "out/bin/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/here/c.txt").read_text() == "hi"


def test_the_digest_tells_content_not_order_or_time(tmp_path):
    one = make(tmp_path / "1.tar", ("a", b"1"), ("b", b"2"))
    two = make(tmp_path / "2.tar", ("b", b"2"), ("a", b"1"))
    three = make(tmp_path / "3.tar", ("b", b"2"), ("a", b"!"))
    four = make(tmp_path / "4.tar", ("a", b"1", 0o755), ("b", b"2"))
    assert inspect(one)[1] == inspect(two)[1]
    assert len({inspect(p)[1] for p in (one, three, four)}) == 3


@pytest.mark.parametrize(
    "member",
    [
        ("../evil", b"x"),
        ("a/../../evil", b"x"),
        ("/etc/evil", b"x"),
        link("out", "/etc/passwd"),
        link("out", "../../etc/passwd"),
        link("a/out", "../../etc/passwd"),
        link("hard", "homeport.toml", tarfile.LNKTYPE),
        link("device", "", tarfile.CHRTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    ],
    ids=["dotdot", "inner-dotdot", "absolute", "abs-link", "up-link", "deep-link", "hard", "device", "fifo"],
)
def test_what_leads_out_of_the_app_is_refused(tmp_path, member):
    path = make(tmp_path / "a.tar", member)
    with pytest.raises(HomeportError) as e:
        inspect(path)
    assert e.value.code == "rollout.archive_invalid"
    assert e.value.sentence.startswith("cannot ")


def test_a_path_through_a_link_is_refused_while_unpacking(tmp_path):
    (tmp_path / "victim").mkdir()
    path = make(tmp_path / "a.tar", link("d", "sub"), ("sub/x", b"1"), ("d/evil", b"2"))
    with pytest.raises(HomeportError) as e:
        archive.unpack(path, tmp_path / "out")
    assert e.value.code == "rollout.archive_invalid"


def test_a_name_that_comes_twice_is_refused(tmp_path):
    path = make(tmp_path / "a.tar", ("x", b"1"), ("x", b"2"))
    with pytest.raises(HomeportError):
        archive.unpack(path, tmp_path / "out")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path):
    path = make(tmp_path / "a.tar", ("big", b"0" * 100_000))
    with pytest.raises(HomeportError) as e:
        inspect(path, limit=50_000)
    assert e.value.code == "rollout.archive_too_large"


def test_no_spec(tmp_path):
    with pytest.raises(HomeportError) as e:
        inspect(make(tmp_path / "a.tar", ("x", b"1"), spec=None))
    assert e.value.code == "rollout.no_spec"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08" + b"0" * 600, b"\0" * 300])
def test_what_is_no_tar_is_refused(tmp_path, content):
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(HomeportError) as e:
        inspect(path)
    assert e.value.code in ("rollout.archive_invalid", "rollout.no_spec")


def test_a_truncated_tar_is_refused(tmp_path):
    path = make(tmp_path / "a.tar", ("x", b"1" * 100_000))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(HomeportError) as e:
        inspect(path)
        archive.unpack(path, tmp_path / "out")
    assert e.value.code == "rollout.archive_invalid"
