"""A machine that is gone, brought back into an empty data directory from a repository and the passphrase: how long.

The app has two environments, a secret, files and a database of some size. The first machine is ended and its data
directory moved away; ``homeport recover`` then has nothing but the repository. Brought back: it serves, each row is
there, the secret and the files are the same.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live import App, Homeport  # noqa: E402
from ship import figure  # noqa: E402

PASSPHRASE = "correct horse battery staple"
MIGRATION = """-- migrate:up
create table ballast (id bigint primary key, note text not null);
-- migrate:down
drop table ballast;
"""
SPEC = """[database.main]
migrations = "migrations"
[storage.uploads]
path = "var/uploads"
[environments.staging]
domains = ["staging.shop.localhost"]
"""
FILES = 200
SECRET = "told to nobody, at no time"


def set_up(homeport: Homeport, megabytes: int) -> App:
    homeport.up()
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "20261120120000_add.sql").write_text(MIGRATION)
    app.write(more=SPEC, replicas=2)
    homeport.run("secrets", "set", "API_KEY", cwd=app.directory, stdin=SECRET)
    homeport.deploy(app)
    homeport.deploy(app, "--env", "staging")
    for number in range(FILES):
        path = uploads(homeport) / f"{number}.bin"
        path.write_bytes(os.urandom(50_000))
        shutil.chown(path, path.parent.owner(), path.parent.group())
    fill = "insert into ballast select g, repeat(md5(random()::text || g), 30)"
    with psycopg.connect(url(homeport, app), autocommit=True, prepare_threshold=None) as connection:
        connection.execute(f"{fill} from generate_series(1, {megabytes * 1000}) g".encode())
    (homeport.work / "repository").mkdir(mode=0o755)
    homeport.run("backup", "repository", "add", "local", "repository", stdin=PASSPHRASE)
    homeport.run("backup", "run", "--full", "--no-proof", status=None)
    while any(r["state"] == "running" for r in homeport.ask("/v1/backups/runs?kind=backup")):
        time.sleep(0.2)
    return app


def uploads(homeport: Homeport) -> Path:
    return homeport.data / "storage" / "shop" / "production" / "uploads"


def url(homeport: Homeport, app: App) -> str:
    return homeport.run("db", "url", cwd=app.directory).stdout.strip()


def state(homeport: Homeport, app: App) -> dict[str, Any]:
    """All that has to be the same afterwards."""
    digest = hashlib.sha256()
    for path in sorted(uploads(homeport).iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    with psycopg.connect(url(homeport, app), autocommit=True, prepare_threshold=None) as connection:
        rows = connection.execute("select count(*), sum(hashtext(note)::bigint) from ballast").fetchone()
    seen = json.loads(homeport.get("/env")[1])
    return {
        "rows": rows,
        "files": digest.hexdigest(),
        "secret": seen["API_KEY"] == SECRET,
        "release": seen["HOMEPORT_RELEASE"],
        "staging": homeport.get(host="staging.shop.localhost")[:2],
        "releases": [r["id"] for r in homeport.json("releases", cwd=app.directory)],
    }


def run(megabytes: int = 200, say: Any = lambda text: None) -> list[dict[str, Any]]:
    homeport = Homeport()
    try:
        app = set_up(homeport, megabytes)
        before = state(homeport, app)
        homeport.run("down")
        shutil.move(homeport.data, homeport.work / "gone")
        began = time.monotonic()
        homeport.run("recover", str(homeport.work / "repository"), "--former-is-gone", stdin=PASSPHRASE)
        homeport.wait(lambda: serves(homeport), seconds=60)
        seconds = time.monotonic() - began
        say(f"recovered after {seconds:.1f} s")
        after = state(homeport, app)
        for name, value in before.items():
            if after[name] != value:
                say(f"{name}: {value} before, {after[name]} after")
    finally:
        homeport.close()
    same = sum(after[name] == value for name, value in before.items())
    return [
        figure(f"an empty machine serves again, {megabytes} MB and {FILES} files", round(seconds, 1), "s"),
        figure("rows, files, secret, releases as before", f"{same} of {len(before)}", "", "all", same == len(before)),
    ]  # fmt: skip


def serves(homeport: Homeport) -> bool:
    try:
        return homeport.get()[0] == 200
    except OSError:
        return False
