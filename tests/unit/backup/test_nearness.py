"""A copy in the place that it must survive the loss of."""

from pathlib import Path

from homeport.backup.nearness import is_inside, warnings
from homeport.backup.repositories import Place, Recorded
from homeport.system.mounts import filesystem

DATA = Path("/srv/homeport")
MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /proc rw - proc proc rw
40 22 254:16 / /mnt/a\040disk rw - xfs /dev/vdb rw
41 22 254:0 /home /home rw - ext4 /dev/vda rw
50 22 0:60 / /mnt/later rw - tmpfs tmpfs rw
51 50 254:16 / /mnt/later rw - xfs /dev/vdb rw
"""
NEAR = Recorded("near", Place(path="/var/backups"))
DISK = Recorded("disk", Place(path="/mnt/a disk/backups"))
STORE = Recorded("store", Place(endpoint="https://s3.example.com", bucket="b"))


def on(path: Path) -> str | None:
    return filesystem(path, MOUNTS)


def test_a_path_is_on_the_filesystem_that_is_mounted_nearest_above_it() -> None:
    assert on(Path("/var/backups")) == on(Path("/home/me")) == on(Path("/mnt/a")) == "254:0"
    assert on(Path("/mnt/a disk")) == on(Path("/mnt/a disk/x")) == "254:16"
    assert on(Path("/mnt/later/x")) == "254:16"
    assert filesystem(Path("/x"), "") is None


def test_one_repository_elsewhere_is_enough() -> None:
    assert warnings((), DATA, on) == ()
    assert "near is on the disk of the data directory" in warnings((NEAR,), DATA, on)[0]
    assert warnings((DISK,), DATA, on) == warnings((STORE,), DATA, on) == ()
    assert warnings((NEAR, STORE), DATA, on) == warnings((NEAR, DISK), DATA, on) == ()
    other = Recorded("other", Place(path="/home/me"))
    assert warnings((NEAR, other), DATA, on)[0].startswith("all repositories are")


def test_inside_the_data_directory_is_told_of_each() -> None:
    inside = Recorded("in", Place(path="/srv/homeport/backups"))
    assert is_inside(inside.place.path, DATA) and not is_inside("/srv/homeports", DATA)
    assert warnings((inside, STORE), DATA, on) == (
        "repository in is inside the data directory, and is lost with it",
    )


def test_where_the_kernel_tells_nothing_nobody_is_warned() -> None:
    assert warnings((NEAR,), DATA, lambda path: None) == ()
