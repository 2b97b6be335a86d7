"""Time that passes when it is waited for."""

from homeport.system.clock import RealClock


class Hurried(RealClock):
    slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
