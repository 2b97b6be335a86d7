"""Secrets: versions, what is refused, and a key file that is never replaced behind anyone's back."""

import os
import threading
import traceback

import pytest

from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.kernel.errors import HomeportError
from homeport.kernel.variables import LARGEST_VALUE
from homeport.system import seal

SHOP = ("shop", "production")


def refused(code, call, *args, **kwargs):
    with pytest.raises(HomeportError) as e:
        call(*args, **kwargs)
    assert e.value.code == code
    assert e.value.sentence.startswith("cannot ")
    return e.value


def test_a_value_comes_back_and_is_not_in_the_files(vault, put, tmp_path, store):
    value = "sk_live_Zq8\n-----BEGIN KEY-----\nπ\n"
    assert put("STRIPE_KEY", value) == 1
    assert vault.reveal(*SHOP, "STRIPE_KEY") == value
    assert vault.values(*SHOP, {"STRIPE_KEY": 1}) == {"STRIPE_KEY": value}
    for file in tmp_path.iterdir():
        assert b"sk_live_Zq8" not in file.read_bytes(), file
    assert (tmp_path / "secrets.key").stat().st_mode & 0o777 == 0o600


def test_versions_grow_and_an_equal_value_makes_none(vault, put, drop):
    assert [put("A", v) for v in ("one", "one", "two")] == [1, 1, 2]
    assert drop("A") == 3
    assert vault.versions(*SHOP) == {} and vault.list(*SHOP) == ()
    assert put("A", "two") == 4
    assert [vault.reveal(*SHOP, "A", n) for n in (1, 2, 4)] == ["one", "two", "two"]
    assert vault.versions(*SHOP) == {"A": 4}


def test_environments_and_apps_are_apart(vault, put):
    put("A", "production")
    put("A", "staging", environment="staging")
    put("A", "blog", app="blog")
    assert vault.reveal("shop", "staging", "A") == "staging"
    assert vault.reveal("blog", "production", "A") == "blog"
    assert vault.versions("blog", "staging") == {}


def test_the_list_tells_who_when_and_whence_but_no_value(vault, put):
    put("B", "valueof-b", source="file:/run/b", actor="eve")
    put("A", "valueof-a")
    a, b = vault.list(*SHOP)
    assert (a.name, a.version, a.actor, a.source) == ("A", 1, "ann", "")
    assert (b.name, b.actor, b.source) == ("B", "eve", "file:/run/b")
    assert a.created_at > b.created_at
    assert "valueof" not in repr((a, b))


def test_the_source_of_an_equal_value_is_brought_up_to_date(vault, put):
    put("A", "same", source="command:x")
    put("A", "other", source="command:x")
    assert put("A", "other") == 2
    assert vault.list(*SHOP)[0].source == ""


def test_a_transaction_that_fails_sets_nothing(vault, store):
    with pytest.raises(RuntimeError), store.transaction("ann") as tx:
        vault.set(tx, *SHOP, "A", "lost-value")
        raise RuntimeError
    assert vault.versions(*SHOP) == {}


@pytest.mark.parametrize("call", ["reveal", "remove", "version", "tokens", "removed version"])
def test_an_unknown_secret_is_told_with_the_nearest_name(vault, put, drop, call):
    put("STRIPE_KEY", "value")
    put("GONE", "value")
    drop("GONE")
    match call:
        case "reveal":
            e = refused("guard.unknown_secret", vault.reveal, *SHOP, "STRIPE_KEYS")
            assert "STRIPE_KEY" in e.hint
        case "remove":
            refused("guard.unknown_secret", drop, "GONE")
        case "version":
            e = refused("guard.unknown_secret", vault.reveal, *SHOP, "STRIPE_KEY", 7)
            assert "newest is 1" in e.sentence
        case "tokens":
            refused("guard.unknown_secret", vault.tokens, *SHOP, {"STRIPE_KEY": 1, "NONE": 1})
        case "removed version":
            refused("guard.unknown_secret", vault.values, *SHOP, {"GONE": 2})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("1A", "marker-value", "digit"),
        ("A-B", "marker-value", "name"),
        ("KEY=marker-value", "x", "name"),
        ("", "marker-value", "name"),
        ("A" * 129, "marker-value", "128"),
        ("A\n", "marker-value", "name"),
        ("PORT", "marker-value", "given by Homeport"),
        ("PATH", "marker-value", "given by Homeport"),
        ("HOMEPORT_X", "marker-value", "given by Homeport"),
        ("A", "", "empty"),
        ("A", "marker-value\0", "NUL"),
        ("A", "marker-value\udcff", "UTF-8"),
        ("A", "marker-value" * 90_000, "64 KB"),
        ("A", "π" * (LARGEST_VALUE // 2) + "!", "64 KB"),
    ],
)
def test_what_is_refused_is_never_repeated(put, vault, key_file, name, value, told):
    with pytest.raises(HomeportError) as e:
        put(name, value)
    assert e.value.code == "guard.bad_secret" and told in e.value.sentence
    assert "marker-value" not in e.value.sentence + e.value.hint + "".join(e.value.details)
    assert "marker-value" not in "".join(traceback.format_exception_only(e.value))
    assert not key_file.exists() and vault.every_value() == ()


def test_64_kb_are_allowed(put, vault):
    put("A", "x" * LARGEST_VALUE)
    assert len(vault.reveal(*SHOP, "A")) == LARGEST_VALUE


def test_a_lost_key_file_is_never_made_anew(vault, put, key_file):
    put("A", "value")
    key_file.unlink()
    for call in (
        lambda: put("B", "value"),
        lambda: vault.reveal(*SHOP, "A"),
        lambda: vault.rotate(lambda f: 0),
    ):
        assert "key file" in refused("guard.key_unusable", call).hint
    assert not key_file.exists()
    assert "no such file" in vault.check()
    assert vault.versions(*SHOP) == {"A": 1}


def test_a_key_file_is_used_by_nobody_while_others_may_read_it(vault, put, key_file):
    put("A", "value")
    key_file.chmod(0o640)
    assert "0640" in refused("guard.key_unusable", put, "B", "value").sentence
    assert "others may read it" in vault.check()
    key_file.chmod(0o600)
    assert vault.check() is None


@pytest.mark.parametrize("content", [b"", b"nothing\n", b"x" * 44, b"!" * 44])
def test_a_key_file_without_keys_is_refused(vault, put, key_file, content):
    key_file.write_bytes(content)
    key_file.chmod(0o600)
    refused("guard.key_unusable", put, "A", "value")
    assert key_file.read_bytes() == content
    assert vault.check() is not None


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "directory"])
def test_a_key_file_that_is_no_file_is_refused(put, key_file, tmp_path, kind):
    match kind:
        case "link":
            (tmp_path / "real").write_bytes(seal.new_key())
            (tmp_path / "real").chmod(0o600)
            key_file.symlink_to(tmp_path / "real")
        case "dangling":
            key_file.symlink_to(tmp_path / "none")
        case "fifo":
            os.mkfifo(key_file, 0o600)
        case "directory":
            key_file.mkdir(0o700)
    refused("guard.key_unusable", put, "A", "value")


def test_the_key_file_of_another_machine_neither_opens_nor_seals(vault, put, drop, key_file):
    put("A", "value")
    key_file.write_bytes(seal.new_key() + b"\n")
    assert "another key" in refused("guard.key_mismatch", vault.reveal, *SHOP, "A").sentence
    refused("guard.key_mismatch", put, "B", "value")
    refused("guard.key_mismatch", put, "A", "value")
    refused("guard.key_mismatch", vault.rotate, lambda f: 0)
    assert "A of shop production, version 1" in vault.check()
    assert len(key_file.read_bytes().split()) == 1


def test_a_row_of_another_machine_is_found_by_the_check_and_stops_a_change_of_keys(
    vault, put, store, key_file
):
    put("A", "value")
    with store.transaction("eve") as tx:
        token = seal.Box([seal.new_key()]).seal("foreign")
        tx.execute(
            schema.secrets.insert().values(
                app="shop",
                environment="staging",
                name="F",
                version=3,
                token=token,
                actor="eve",
                created_at="",
            )
        )
    before = key_file.read_bytes()
    assert "F of shop staging, version 3" in vault.check()
    refused("guard.key_mismatch", vault.rotate, lambda f: 0)
    assert key_file.read_bytes() == before
    assert vault.reveal(*SHOP, "A") == "value"
    assert vault.every_value() == ("value",)


def test_every_value_holds_all_versions_and_stays_the_same_object(vault, put, drop, store):
    put("A", "first")
    put("A", "second")
    put("B", "third", app="blog")
    drop("A")
    values = vault.every_value()
    assert sorted(values) == ["first", "second", "third"]
    with store.transaction("ann"):
        pass
    assert vault.every_value() is values
    put("B", "fourth", app="blog")
    assert sorted(vault.every_value()) == ["first", "fourth", "second", "third"]


def test_a_value_is_masked_from_the_moment_it_is_set(vault, store):
    assert vault.every_value() == ()
    with store.transaction("ann") as tx:
        vault.set(tx, *SHOP, "A", "first")
        assert vault.every_value() == ("first",)
    assert vault.every_value() == ("first",)
    with pytest.raises(RuntimeError), store.transaction("ann") as tx:
        vault.set(tx, *SHOP, "A", "second")
        raise RuntimeError
    with store.transaction("ann"):
        pass
    assert vault.every_value() == ("first",)


def test_every_value_of_a_new_process_is_read_from_the_database(vault, put, store, key_file):
    put("A", "first")
    assert Vault(store, key_file).every_value() == ("first",)


def test_every_value_goes_on_without_the_key_file(vault, put, store, key_file):
    put("A", "first")
    assert vault.every_value() == ("first",)
    other = Vault(store, key_file)
    aside = key_file.rename(key_file.with_name("aside"))
    with store.transaction("ann"):
        pass
    assert vault.every_value() == ("first",) and other.every_value() == ()
    aside.rename(key_file)
    assert other.every_value() == ("first",)


def test_an_app_is_forgotten_with_all_its_versions(vault, put, store):
    put("A", "one")
    put("A", "two")
    put("A", "three", app="blog")
    with store.transaction("ann") as tx:
        vault.forget_app(tx, "shop")
    assert vault.versions(*SHOP) == {}
    assert vault.every_value() == ("three",)
    assert put("A", "again") == 1


def test_with_nothing_there_all_is_well(vault, key_file):
    assert vault.check() is None
    assert vault.every_value() == () and vault.tokens(*SHOP, {}) == {} and vault.values(*SHOP, {}) == {}
    assert vault.rotate(lambda f: 0).secrets == 0
    assert vault.finish_rotation(lambda f: 0) is None
    assert not key_file.exists()


def test_threads_may_set_and_read_at_once(vault, store):
    problems = []

    def work(n):
        try:
            for k in range(5):
                with store.transaction("ann") as tx:
                    vault.set(tx, *SHOP, f"S{n}", f"value-{n}-{k}")
                assert vault.reveal(*SHOP, f"S{n}") == f"value-{n}-{k}"
                assert f"value-{n}-{k}" in vault.every_value()
        except BaseException as e:
            problems.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(vault.every_value()) == 20
