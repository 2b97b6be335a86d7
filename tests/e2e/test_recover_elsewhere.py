"""A machine comes back in another data directory: releases whose builds left the former path behind."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from test_backups import PASSPHRASE

# As pip writes the scripts of a virtual environment.
SCRIPT = """
mkdir -p .venv/bin && ln -s "$(command -v python3)" .venv/bin/python
{ echo "#!$PWD/.venv/bin/python"; cat app.py; } > .venv/bin/serve
chmod +x .venv/bin/serve
"""
# As a compiled program has it.
BINARY = """printf 'a\\0%s' "$PWD" > where"""
STORAGE = '[storage.uploads]\npath = "uploads"\n'


def ship(homeport, name, build, command, more=""):
    app = homeport.app(name)
    (app.directory / "build.sh").write_text(build)
    app.write("1", build='command = "sh build.sh"', replicas=1, more=more)
    spec = app.directory / "homeport.toml"
    spec.write_text(spec.read_text().replace("exec python3 app.py", command))
    app.commit("Its own command")
    homeport.deploy(app)
    return app


def test_releases_start_in_another_directory_or_are_built_anew(homeport):
    script = ship(homeport, "script", SCRIPT, "exec .venv/bin/serve", STORAGE)
    binary = ship(homeport, "binary", BINARY, "cd $(tail -c +3 where) && exec python3 app.py")
    repository = homeport.work / "repository"
    repository.mkdir()
    homeport.run("backup", "repository", "add", "local", str(repository), stdin=PASSPHRASE)
    homeport.wait(lambda: homeport.ask("/v1/backups/runs?kind=backup") and not running(homeport), seconds=150)
    former = homeport.data
    homeport.run("down")
    former.rename(homeport.work / "lost")

    homeport.data = homeport.work / "elsewhere"
    homeport.env["HOMEPORT_HOME"] = str(homeport.data)
    report = json.loads(homeport.run("recover", str(repository), "--json", status=1, stdin=PASSPHRASE).stdout)
    assert any(str(former) in s["said"] and "--data-dir" in s["said"] for s in report["steps"]), report
    assert report["lost"] == ["binary production does not serve: it is down"]
    assert any(n.startswith("r1 of script named") for n in report["notes"]), report
    [advice] = [text for text in report["todo"] if "binary production" in text]
    commit = binary.git("rev-parse", "HEAD")[:10]
    assert str(former) in advice and f"homeport deploy {commit} --env production" in advice

    status, body, _ = homeport.get(host=script.host)
    assert (status, body) == (200, "1"), "its script starts by the path of here"
    uploads = homeport.data / "releases" / "script" / "r1.production" / "uploads"
    assert uploads.resolve() == homeport.data / "storage" / "script" / "production" / "uploads"
    assert [r["state"] for r in homeport.ask("/v1/backups/runs") if r["finished_at"] is None] == []

    # Nobody is told that it serves while it does not.
    done = homeport.run("restart", cwd=binary.directory, status=7)
    assert "r1 does not serve production either: homeport ps" in done.stderr
    assert f"homeport deploy {commit} builds it anew" in done.stderr
    done = homeport.deploy(binary, commit, "--env", "production")
    assert "building r2" in done.stdout and "holds the same files already" not in done.stdout
    assert homeport.get(host=binary.host)[0] == 200
    assert "holds the same files already" in homeport.deploy(binary).stdout

    done = homeport.run("recover", str(repository), status=5, stdin=PASSPHRASE)
    assert "homeport restore --cluster NAME --plan" in done.stderr and "homeport deploy" in done.stderr


def running(homeport):
    return [r for r in homeport.ask("/v1/backups/runs") if r["state"] == "running"]
