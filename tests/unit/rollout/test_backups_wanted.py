"""What is asked of backups, as it is read from the specs of what serves."""

from pathlib import Path
from types import SimpleNamespace

from homeport.rollout.backups.wanted import DataOwners
from homeport.spec.model_backup import Backup

WEEKLY = Backup(schedule="0 0 * * 0")


def owners(data: Path, **asked: Backup | None) -> DataOwners:
    """Apps by name, each of them serves in production."""

    def spec(app: str, environment: str, serving: str) -> object:
        return SimpleNamespace(backup=asked[app], databases=())

    parts = SimpleNamespace(
        state=SimpleNamespace(
            environments=lambda: [SimpleNamespace(app=a, name="production", serving="r1") for a in asked]
        ),
        spec=spec,
        stores=SimpleNamespace(state=SimpleNamespace(databases=lambda: [], clusters=lambda: [])),
        data_dir=data,
    )
    return DataOwners(parts)


def schedules(data: Path, **asked: Backup | None) -> set[str]:
    return {b.schedule for b in owners(data, **asked).wanted().schedules}


def test_who_has_data_and_asks_for_nothing_is_backed_up_by_the_hour_whatever_others_ask(
    tmp_path: Path,
) -> None:
    (tmp_path / "storage" / "shop" / "production").mkdir(parents=True)
    assert schedules(tmp_path, shop=None, reports=WEEKLY) == {Backup().schedule, WEEKLY.schedule}


def test_who_has_no_data_asks_for_nothing(tmp_path: Path) -> None:
    assert schedules(tmp_path, site=None, reports=WEEKLY) == {WEEKLY.schedule}
    assert schedules(tmp_path, site=None) == set()
