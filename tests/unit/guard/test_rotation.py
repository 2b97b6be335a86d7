"""A change of keys that is cut off at any point: everything opens, and what follows ends with one key."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.guard import rotation
from homeport.guard.rotation import STEPS
from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.kernel.errors import HomeportError
from homeport.system import seal

SHOP = ("shop", "production")


class Killed(BaseException):
    pass


class World:
    """A data directory: rows, a key file, and documents of instances, each with its value and token."""

    def __init__(self, store, key_file):
        self.store, self.key_file = store, key_file
        self.vault = Vault(store, key_file)
        self.values = {}
        self.documents = {}

    def set(self, name, value):
        with self.store.transaction("ann") as tx:
            version = self.vault.set(tx, *SHOP, name, value)
        self.values[name, version] = value

    def start(self, instance, name):
        version = self.vault.versions(*SHOP)[name]
        with self.vault.handing_out():
            token = self.vault.tokens(*SHOP, {name: version})[name]
            self.documents[instance] = (self.values[name, version], token)

    def reseal(self, reseal, *, documents_until=None):
        for n, (instance, (value, token)) in enumerate(sorted(self.documents.items())):
            if n == documents_until:
                raise Killed
            self.documents[instance] = (value, reseal(token))
        return len(self.documents)

    def change(self, call, cut_at):
        """``rotate`` or ``finish_rotation``, cut off at a step or after that many documents; then a restart."""

        def reached(step):
            if step == cut_at:
                raise Killed

        until = cut_at if isinstance(cut_at, int) else None
        try:
            getattr(self.vault, call)(lambda f: self.reseal(f, documents_until=until), reached=reached)
        except Killed:
            pass
        self.vault = Vault(self.store, self.key_file)

    def keys(self):
        return seal.read_keys(str(self.key_file))

    def check(self):
        box = seal.Box(self.keys())
        for value, token in self.documents.values():
            assert box.open(token) == value
        for (name, version), value in self.values.items():
            assert self.vault.reveal(*SHOP, name, version) == value
        assert set(self.vault.every_value()) == set(self.values.values())

    def sealed_with_the_newest_alone(self):
        self.check()
        assert len(self.keys()) == 1 and self.vault.check() is None


@pytest.fixture(scope="module")
def big_store(tmp_path_factory, make_store):
    directory = tmp_path_factory.mktemp("rotation")
    store = make_store(directory / "state.db")
    yield store, directory / "secrets.key"
    store.engine.dispose()


def fresh(big_store):
    store, key_file = big_store
    with store.transaction("ann") as tx:
        tx.execute(schema.secrets.delete())
    key_file.unlink(missing_ok=True)
    return World(store, key_file)


names = st.sampled_from(["A", "B", "C"])
cuts = st.one_of(st.none(), st.sampled_from(STEPS), st.integers(0, 3))
actions = st.one_of(
    st.tuples(st.just("set"), names, st.integers(0, 3)),
    st.tuples(st.just("start"), st.integers(0, 3), names),
    st.tuples(st.just("rotate"), cuts),
    st.tuples(st.just("finish_rotation"), cuts),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(actions, max_size=8), st.sampled_from(["rotate", "finish_rotation"]))
def test_everything_opens_after_every_prefix_and_the_end_has_one_key(big_store, todo, last):
    world = fresh(big_store)
    world.set("A", "a-first")
    world.start(0, "A")
    for action, *arguments in todo:
        match action:
            case "set":
                world.set(arguments[0], f"{arguments[0]}-{arguments[1]}")
            case "start":
                if arguments[1] in world.vault.versions(*SHOP):
                    world.start(*arguments)
            case _:
                world.change(action, arguments[0])
        world.check()
        assert len(world.keys()) <= 2
    before = world.keys()
    world.change(last, None)
    world.sealed_with_the_newest_alone()
    assert (world.keys()[0] in before) == (last == "finish_rotation")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_reached_once_and_its_cut_is_healed(big_store, step):
    world = fresh(big_store)
    world.set("A", "a-first")
    world.start(0, "A")
    old = world.keys()
    seen = []
    world.vault.rotate(world.reseal, reached=seen.append)
    assert tuple(seen) == STEPS
    assert set(world.keys()).isdisjoint(old)
    world.change("rotate", step)
    world.check()
    world.set("B", "b-meanwhile")
    world.start(1, "B")
    world.check()
    world.change("finish_rotation", None)
    world.sealed_with_the_newest_alone()


def test_what_was_sealed_counts(big_store):
    world = fresh(big_store)
    for value in ("one", "two"):
        world.set("A", value)
    world.start(0, "A")
    done = world.vault.rotate(world.reseal)
    assert (done.secrets, done.documents) == (2, 1)


def test_documents_that_cannot_be_written_leave_both_keys(big_store):
    world = fresh(big_store)
    world.set("A", "one")
    world.start(0, "A")

    def full(_):
        raise OSError("no space left")

    with pytest.raises(OSError):
        world.vault.rotate(full)
    assert len(world.keys()) == 2
    world.check()
    assert "rotate-key goes on" in world.vault.check()
    assert world.vault.finish_rotation(world.reseal).documents == 1
    world.sealed_with_the_newest_alone()


def test_a_document_of_another_machine_stops_it_with_both_keys_kept(big_store):
    world = fresh(big_store)
    world.set("A", "one")
    foreign = seal.Box([seal.new_key()]).seal("x")
    with pytest.raises(HomeportError) as e:
        world.vault.rotate(lambda reseal: bool(reseal(foreign)))
    assert e.value.code == "guard.key_mismatch"
    assert len(world.keys()) == 2
    world.check()


def test_old_keys_stay_while_a_row_needs_them(big_store):
    """Even if something sealed with the old key slipped in after the rows were done."""
    world = fresh(big_store)
    world.set("A", "one")
    old = world.keys()[0]

    def slip_in(_):
        with world.store.transaction("eve") as tx:
            token = seal.Box([old]).seal("slipped in")
            tx.execute(schema.secrets.update().where(schema.secrets.c.name == "A").values(token=token))
        return 0

    with pytest.raises(HomeportError) as e:
        world.vault.rotate(slip_in)
    assert e.value.code == "guard.key_mismatch"
    assert world.vault.reveal(*SHOP, "A") == "slipped in"


def test_tokens_on_their_way_to_a_disk_are_waited_for(big_store):
    world = fresh(big_store)
    world.set("A", "one")
    rows_sealed, steps = threading.Event(), []

    def reached(step):
        steps.append(step)
        if step == "rows sealed":
            rows_sealed.set()

    change = threading.Thread(target=lambda: world.vault.rotate(world.reseal, reached=reached))
    with world.vault.handing_out():
        token = world.vault.tokens(*SHOP, {"A": 1})["A"]
        change.start()
        assert rows_sealed.wait(10)
        change.join(0.1)
        assert "documents sealed" not in steps
        world.documents[0] = ("one", token)
    change.join(10)
    assert steps[-1] == "old keys gone"
    world.sealed_with_the_newest_alone()


def test_keys_that_change_between_tokens_and_keys_are_read_again(big_store):
    world = fresh(big_store)
    world.set("A", "one")
    world.start(0, "A")
    reads = []

    def tokens():
        reads.append(world.documents[0][1])
        if len(reads) == 1:
            world.change("rotate", None)
        return {"A": reads[-1]}

    assert seal.open_all(str(world.key_file), tokens) == {"A": "one"}
    assert len(reads) == 2
    foreign = seal.Box([seal.new_key()]).seal("x")
    with pytest.raises(seal.WrongKey, match="cannot open A"):
        seal.open_all(str(world.key_file), lambda: {"A": foreign})


def test_a_start_that_never_ends_leaves_both_keys(big_store, monkeypatch):
    monkeypatch.setattr(rotation, "LONGEST_START", 0.01)
    world = fresh(big_store)
    world.set("A", "one")
    with world.vault.handing_out():
        with pytest.raises(HomeportError) as e:
            world.vault.rotate(world.reseal)
        assert e.value.code == "guard.rotation_unfinished" and e.value.type.retry
        world.check()
    world.vault.finish_rotation(world.reseal)
    world.sealed_with_the_newest_alone()


def test_blocks_that_began_later_are_not_waited_for():
    blocks = rotation.HandingOut()
    waiting, done = threading.Event(), []

    def wait():
        waiting.set()
        done.append(blocks.wait(10))

    waiter = threading.Thread(target=wait)
    with blocks.block():
        with blocks.block():
            pass
        waiter.start()
        waiting.wait(10)
    with blocks.block():
        waiter.join(10)
    assert done == [True]
    with blocks.block():
        assert blocks.wait(0) is False
    assert blocks.wait(0) is True


def test_what_a_killed_writer_left_is_removed(big_store):
    world = fresh(big_store)
    world.set("A", "one")
    left = world.key_file.with_name(".secrets.key.abc123")
    left.write_bytes(seal.new_key())
    assert world.vault.finish_rotation(world.reseal) is None
    assert not left.exists()
    world.sealed_with_the_newest_alone()
