"""Previews that nobody asks for sleep: their instances are stopped, and started again by the next request.

A preview that sleeps keeps its instances in the state, with their ports and weights, but none of them is
ready. The edge holds its requests. What it was doing when the control plane was killed is done again, from
what the state says: going to sleep is marked before anything is stopped, waking after all is ready. A
change (a deploy, a scaling, …) has the last word: it starts instances of its own, and its traffic wakes.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, ServiceName, service_name
from homeport.rollout import state
from homeport.rollout.model import ChangeKind, Instance
from homeport.rollout.parts import Parts
from homeport.rollout.previews import events, plan
from homeport.rollout.previews import state as table
from homeport.rollout.previews.model import Preview
from homeport.rollout.readiness import Watch
from homeport.rollout.rollouts import Rollouts

log = logging.getLogger(__name__)

POLL = 0.2
"""Seconds between two questions whether a request wants a preview that sleeps."""
EMPTY_WITHIN = 5.0
"""Seconds that requests in hand may take when a preview is to sleep; else it stays awake."""
WRITE_USE_EVERY = timedelta(seconds=30)
AGAIN_AFTER = 5.0
"""Seconds until one that did not wake is tried again, when a request still wants it."""

Key = tuple[AppName, EnvironmentName]


@dataclass(frozen=True, slots=True)
class Seen:
    """How many requests the edge has counted for an environment since its worker began."""

    worker: int
    requests: int


class Sleep:
    """:meth:`tick` is called by one thread alone; all else from any."""

    def __init__(self, parts: Parts, rollouts: Rollouts) -> None:
        self._parts = parts
        self._rollouts = rollouts
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="sleep")
        self._probes = ThreadPoolExecutor(16, thread_name_prefix="wake")
        self._guard = threading.Lock()
        self._busy: dict[Key, str] = {}
        """What is going to sleep or waking just now."""
        self._seen: dict[Key, Seen] = {}
        self._used: dict[Key, datetime] = {}
        self._problems: dict[Key, tuple[str, float]] = {}
        """Why one did not wake, and when it may be tried again."""
        self._unsettled: set[Key] = {p.key for p in table.read(parts.state.store) if p.asleep}
        """Those of which some instances may run though they sleep: this control plane just began, or a
        change came in between."""
        self._began = parts.clock.now()
        self._closing = threading.Event()
        self._any_asleep = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="wake", daemon=True)

    def start(self) -> None:
        if any(p.asleep for p in table.read(self._parts.state.store)):
            self._any_asleep.set()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._any_asleep.set()
        if self._thread.is_alive():
            self._thread.join(5)
        for pool in (self._pool, self._probes):
            pool.shutdown(wait=False, cancel_futures=True)

    def is_waking(self, key: Key) -> bool:
        return self._busy.get(key) == "waking"

    def problem(self, key: Key) -> str | None:
        """Why it did not wake the last time that it should; None when it did."""
        found = self._problems.get(key)
        return found[0] if found else None

    # Going to sleep

    def tick(self) -> None:
        """Notice what is used, and have sleep what is not. Does not wait for that."""
        parts = self._parts
        previews = table.read(parts.state.store)
        self._forget(previews)
        (self._any_asleep.set if any(p.asleep for p in previews) else self._any_asleep.clear)()
        now = parts.clock.now()
        for preview in previews:
            is_left = preview.asleep and preview.key in self._unsettled
            if is_left and not parts.state.running(*preview.key) and self._take(preview.key, "settling"):
                self._pool.submit(self._run, preview, "settling")
        sleepers = {p.key: after for p in previews if (after := self._sleep_after(p)) is not None}
        if not sleepers:
            return
        self._note_use(tuple(p for p in previews if p.key in sleepers), now)
        for preview in previews:
            used_at = self._used.get(preview.key, preview.used_at)
            if (
                plan.is_idle(preview, used_at, sleepers.get(preview.key), now)
                and not parts.state.running(*preview.key)
                and self._take(preview.key, "falling asleep")
            ):
                self._pool.submit(self._run, preview, "falling asleep")

    def _sleep_after(self, preview: Preview) -> float | None:
        """As the release that serves it says; None for one without routes: no request would wake it."""
        parts = self._parts
        environment = next(
            (e for e in parts.state.environments(preview.app) if e.name == preview.environment), None
        )
        if environment is None or environment.serving is None:
            return None
        whole = parts.whole_spec(preview.app, environment.serving)
        routed = whole.for_environment(preview.environment).routes
        return whole.previews.sleep_after if whole.previews is not None and routed else None

    def _note_use(self, previews: tuple[Preview, ...], now: datetime) -> None:
        found = self._requests()
        for preview in previews:
            key = preview.key
            before, seen = self._seen.get(key), found.get(key)
            used_at = max(self._used.get(key, preview.used_at), preview.used_at, self._began)
            if seen is not None:
                count, in_hand = seen
                is_new = before is not None and (
                    count.requests > before.requests if count.worker == before.worker else count.requests > 0
                )
                self._seen[key] = count
                if is_new or in_hand:
                    used_at = now
            self._used[key] = used_at
            if used_at - preview.used_at >= WRITE_USE_EVERY:
                with self._parts.state.store.transaction("homeport") as tx:
                    table.update(tx, *key, used_at=used_at)

    def _requests(self) -> Mapping[Key, tuple[Seen, int]]:
        """By environment: requests counted, and requests in hand."""
        counts = self._parts.edge.counts()
        found: dict[Key, tuple[Seen, int]] = {}
        for counted in counts.servers:
            app, environment, _ = counted.service.split(".", 2)
            key = AppName(app), EnvironmentName(environment)
            seen, in_hand = found.get(key, (Seen(counts.worker, 0), 0))
            found[key] = (
                Seen(counts.worker, seen.requests + counted.requests),
                in_hand + counted.sessions,
            )
        return found

    def _forget(self, previews: tuple[Preview, ...]) -> None:
        present = {p.key for p in previews}
        asleep = {p.key for p in previews if p.asleep}
        for book, known in ((self._seen, present), (self._used, present), (self._problems, asleep)):
            for key in set(book) - known:
                book.pop(key, None)

    def _fall_asleep(self, preview: Preview) -> None:
        """Have the edge hold its requests, wait for those in hand, then stop its instances."""
        parts, key = self._parts, preview.key
        with parts.traffic:
            with parts.state.store.transaction("homeport") as tx:
                if state.is_moving(tx, *key) or not table.update(tx, *key, asleep=True):
                    return
            parts.publish()
        self._any_asleep.set()
        if not self._empties(key):
            self._stay_awake(key)
            return
        stopped = self._settle(preview)
        if stopped is None:
            # A change came in between. When it is not kept, what runs is stopped.
            self._unsettled.add(key)
            return
        with parts.state.store.transaction("homeport") as tx:
            tx.append(events.PreviewAsleep(app=key[0], environment=key[1], instances=stopped))

    def _settle(self, preview: Preview) -> int | None:
        """Stop what runs of one that is marked as asleep, and return how many ran; None when a change is at it,
        or it is awake."""
        parts, key = self._parts, preview.key
        with parts.traffic:
            with parts.state.store.transaction("homeport") as tx:
                now = table.find(parts.state.store, *key)
                if state.is_moving(tx, *key) or now is None or not now.asleep:
                    return None
                instances = parts.state.instances(*key)
                for i in instances:
                    state.update_instance(tx, i.name, ready=False)
            parts.publish()
        running = {s.name for s in parts.runtime.observe()}
        names = tuple(i.name for i in instances if i.name in running)
        parts.runtime.stop(names)
        with parts.state.store.transaction("homeport") as tx:
            for i in instances:
                if i.retire_at is not None:
                    state.delete_instance(tx, i.name)
        return len(names)

    def _empties(self, key: Key) -> bool:
        """Whether the requests in hand end soon."""
        parts = self._parts
        routed = [i for i in parts.state.instances(*key) if i.port is not None]
        until = parts.clock.monotonic() + EMPTY_WITHIN
        while any(self._in_hand(i) for i in routed):
            if parts.clock.monotonic() > until:
                return False
            parts.clock.sleep(0.1)
        return True

    def _in_hand(self, instance: Instance) -> int:
        service = service_name(instance.app, instance.environment, instance.process)
        return self._parts.edge.sessions(service, instance.name)

    def _stay_awake(self, key: Key) -> None:
        parts = self._parts
        with parts.traffic:
            with parts.state.store.transaction("homeport") as tx:
                table.update(tx, *key, asleep=False, used_at=tx.now)
            self._used[key] = parts.clock.now()
            parts.publish()

    # Waking

    def _listen(self) -> None:
        while not self._closing.is_set():
            self._any_asleep.wait()
            if self._closing.wait(POLL):
                return
            try:
                self.look()
            except HomeportError as e:
                log.warning("waking: %s", e.sentence)
                self._closing.wait(1.0)
            except Exception:
                log.exception("waking")
                self._closing.wait(1.0)

    def look(self) -> None:
        """Wake what a request wants; does not wait for it."""
        wanted = {_key(service) for service in self._parts.edge.wanted()}
        if not wanted:
            return
        now = self._parts.clock.monotonic()
        for preview in table.read(self._parts.state.store):
            key = preview.key
            may = key in wanted and preview.asleep and self._problems.get(key, ("", 0.0))[1] <= now
            if may and not self._parts.state.running(*key) and self._take(key, "waking"):
                self._pool.submit(self._run, preview, "waking")

    def _wake(self, preview: Preview) -> None:
        """Start its instances with what they had, and give them the requests that wait."""
        parts, key = self._parts, preview.key
        began = parts.clock.monotonic()
        with parts.state.store.transaction("homeport") as tx:
            now = table.find(parts.state.store, *key)
            if state.is_moving(tx, *key) or now is None or not now.asleep:
                return
            instances = tuple(i for i in parts.state.instances(*key) if i.retire_at is None)
            for i in instances:
                # Their time to become ready begins now.
                state.update_instance(tx, i.name, ready=False, created_at=text_time(tx.now))
        if not any(i.port is not None and i.weight for i in instances):
            # None would get traffic: its changes left nothing to start again.
            self._rollouts.restart(*key, actor="homeport", kind=ChangeKind.HEAL)
            return
        for i in instances:
            parts.start(i, parts.state.change(i.change).config)
        problem = self._await_ready(key)
        if problem is not None:
            self._give_up(preview, problem)
            return
        with parts.traffic:
            with parts.state.store.transaction("homeport") as tx:
                if not table.update(tx, *key, asleep=False, used_at=tx.now):
                    return
                tx.append(
                    events.PreviewAwake(
                        app=key[0],
                        environment=key[1],
                        instances=len(instances),
                        seconds=round(parts.clock.monotonic() - began, 3),
                    )
                )
            self._used[key] = parts.clock.now()
            parts.publish()
        self._problems.pop(key, None)

    def _await_ready(self, key: Key) -> HomeportError | None:
        """Why not every instance of an environment became ready, or None."""
        parts = self._parts
        environment = parts.state.environment(*key)
        assert environment.serving is not None
        watch = Watch(parts, self._closing.is_set)
        waits = []
        for i in parts.state.instances(*key):
            process = parts.spec(*key, i.release).process(i.process)
            if i.retire_at is None and process is not None:
                waits.append(self._probes.submit(watch.wait, i, process))
        problems = [p for wait in waits if (p := wait.result()) is not None]
        return problems[0] if problems else None

    def _give_up(self, preview: Preview, problem: HomeportError) -> None:
        """Leave it asleep; the next request tries again, after a while."""
        parts, key = self._parts, preview.key
        if self._closing.is_set():
            return
        if parts.state.running(*key):
            # A change took it over in the middle. When it is not kept, what runs is stopped.
            self._unsettled.add(key)
            return
        self._problems[key] = problem.sentence, parts.clock.monotonic() + AGAIN_AFTER
        with parts.state.store.transaction("homeport") as tx:
            tx.append(
                events.PreviewDidNotWake(
                    app=key[0],
                    environment=key[1],
                    reason=problem.sentence,
                    lines=list(problem.details[-50:]),
                )
            )
        self._settle(preview)

    # Within

    def _take(self, key: Key, what: str) -> bool:
        """Whether nothing is at it, and this may be."""
        with self._guard:
            if key in self._busy or self._closing.is_set():
                return False
            self._busy[key] = what
            return True

    def _run(self, preview: Preview, what: str) -> None:
        try:
            if what == "waking":
                self._wake(preview)
            elif what == "falling asleep":
                self._fall_asleep(preview)
            else:
                self._settle(preview)
                self._unsettled.discard(preview.key)
        except HomeportError as e:
            log.warning("%s %s, %s: %s", preview.app, preview.environment, what, e.sentence)
        except Exception:
            log.exception("%s %s, %s", preview.app, preview.environment, what)
        finally:
            with self._guard:
                self._busy.pop(preview.key, None)


def _key(service: ServiceName) -> Key:
    app, environment, _ = service.split(".", 2)
    return AppName(app), EnvironmentName(environment)
