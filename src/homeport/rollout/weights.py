"""Weights of servers that give a canary its share of the requests. Pure."""

from collections.abc import Mapping, Sequence

from homeport.kernel.ids import InstanceName, ProcessName
from homeport.rollout.model import FULL_WEIGHT

MOST = 256
"""The largest weight that HAProxy knows."""


def pair(share: float, new: int, old: int) -> tuple[int, int]:
    """The weights of each of ``new`` and of ``old`` servers by which the new ones get ``share`` of the requests.

    As near as whole numbers from 1 to 256 allow: with one server on each side the smallest share is 0.4 %.
    """
    if not (0 < share < 1 and new > 0 and old > 0):
        raise ValueError(f"no weights give {share} to {new} of {new + old}")

    def error(weights: tuple[int, int]) -> float:
        mine, theirs = weights[0] * new, weights[1] * old
        return abs(mine / (mine + theirs) - share)

    ratio = share * old / ((1 - share) * new)
    candidates = []
    for big in range(MOST, 0, -1):
        small = min(MOST, max(1, round(ratio * big if ratio <= 1 else big / ratio)))
        candidates.append((small, big) if ratio <= 1 else (big, small))
    return min(candidates, key=error)


def of_step(
    share: float,
    new: Mapping[ProcessName, Sequence[InstanceName]],
    old: Mapping[ProcessName, Sequence[InstanceName]],
) -> dict[InstanceName, int] | None:
    """Weights for a step of a canary; processes that the release before has not have no other side.

    None when no process has both sides: there is nothing to compare with.
    """
    weights: dict[InstanceName, int] = {}
    beside = False
    for process, names in new.items():
        others = old.get(process, ())
        if not others or not names:
            weights |= dict.fromkeys(names, FULL_WEIGHT)
            continue
        beside = True
        mine, theirs = pair(share, len(names), len(others))
        weights |= dict.fromkeys(names, mine) | dict.fromkeys(others, theirs)
    return weights if beside else None
