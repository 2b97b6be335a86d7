"""supervisord, made to rest where it would spin.

It forgets to say that a socket which it closed need not be watched any more. When the number is given again, to the
pipe of a program that closes its stdin, poll reports an error there at once, always, which nobody takes: 25 % of a
core and more, for as long as it runs (github.com/Supervisor/supervisor/issues/807). Seen in 4 of 5 Homeports here.
"""

import select

from supervisor import poller


class Poller(poller.PollPoller):  # type: ignore[misc]
    def _poll_fds(self, timeout: float) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for fd, events in super()._poll_fds(timeout):
            wanted = events & (self.READ | self.WRITE | select.POLLNVAL)
            if not wanted and events & select.POLLERR:
                self._reported(fd, found)
            else:
                found.append((fd, events))
        return found

    def _reported(self, fd: int, found: list[tuple[int, int]]) -> None:
        """An error and nothing else: told to who wants to write there; else nobody waits for it."""
        if fd in self.writables:
            found.append((fd, self.WRITE))
            return
        self._poller.unregister(fd)
        self.readables.discard(fd)


def main() -> None:
    from supervisor.supervisord import main as run

    poller.Poller = Poller
    run()


if __name__ == "__main__":
    main()
