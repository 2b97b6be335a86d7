"""Every command of the task pages, run in order in a scratch directory and a Homeport of the page's own.

How a page is read:

- ```` ```console ````: lines that begin with ``$ `` are run by bash, one after the other, with ``> `` lines
  as their continuation; ``cd`` and ``export`` hold for the rest of the page. A command must exit with 0, or
  with N where it ends with ``# exit status N``. The other lines must come in its output, in this order;
  ``…`` stands for anything.
- ``Write `FILE`:`` before a block makes its content a file.
- ```` ```toml ```` is read as a part of a homeport.toml. ```` ```text ```` and others are not run.
- Port 8080 and those up to 8089 stand for free ports.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from live import HOMEPORT, ROOT, Homeport
from ports import free_port

DOCS = ROOT / "docs"
PAGES = (
    "install.md",
    "first-deploy.md",
    "daily-work.md",
    "environments.md",
    "secrets.md",
    "modes.md",
    "jobs.md",
    "static-sites.md",
    "languages.md",
    "routes-and-several-apps.md",
    "limits-and-users.md",
    "canaries.md",
    "pipelines.md",
    "gates.md",
    "push-to-deploy.md",
    "ci.md",
    "previews.md",
    "troubleshooting.md",
)
DATA_PAGES = (
    "databases.md",
    "pooling.md",
    "migrations.md",
    "insight.md",
)
"""Those with databases in them: read by a file of tests of their own, at the same time."""
BACKUP_PAGES = ("backups.md", "restore.md", "clone.md", "drills.md")
"""Read one after the other: the first makes the repository that the others use."""
PRACTICE = "runbooks/practice.md"
RUNBOOKS = (
    "runbooks/failed-deployment.md",
    "runbooks/full-disk.md",
    "runbooks/security-breach.md",
    "runbooks/database-failure.md",
    "runbooks/data-corruption.md",
    "runbooks/lost-machine.md",
)
"""Read one after the other by whoever has read ``PRACTICE``; the machine is lost with the last."""
READ_ONLY = ("canary-statistics.md", "README.md", "architecture.md", "how-a-deploy-works.md")
"""Pages that explain; nothing in them is run."""

FENCE = re.compile(
    r"(?:^Write `(?P<file>[^`]+)`[^\n]*:\n\n)?^```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_STATUS = re.compile(r"# exit status (\d+)$")


@dataclass
class Command:
    line: str
    expected: list[str]

    @property
    def status(self) -> int:
        found = _STATUS.search(self.line)
        return int(found[1]) if found else 0


@dataclass
class File:
    path: str
    text: str


def steps(page: str) -> list[Command | File]:
    """What a page has the reader do, in order."""
    found: list[Command | File] = []
    for block in FENCE.finditer(page):
        if block["file"]:
            found.append(File(block["file"], block["text"]))
        elif block["kind"] == "console":
            found += _commands(block["text"])
    return found


def _commands(text: str) -> list[Command]:
    found: list[Command] = []
    continues = False
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
            continues = True
        elif line.startswith("> ") and continues:
            found[-1].line += "\n" + line[2:]
        elif line.strip():
            continues = False
            found[-1].expected.append(line)
    return found


def missing(output: str, expected: list[str]) -> str | None:
    """The first expected line that does not come, after those before it, in the output."""
    at = 0
    lines = output.splitlines()
    for wanted in expected:
        pattern = ".*".join(re.escape(" ".join(part.split())) for part in wanted.split("…"))
        while at < len(lines) and not re.search(pattern, " ".join(lines[at].split())):
            at += 1
        if at == len(lines):
            return wanted
        at += 1
    return None


class Reader:
    """Does what a page says."""

    def __init__(self, homeport: Homeport) -> None:
        self.homeport = homeport
        self.home = homeport.work
        self.state = self.home / ".shell"
        self.ports: dict[str, str] = {"8080": str(homeport.port)}
        self.env = homeport.env | {
            "HOME": str(self.home),
            "PATH": f"{HOMEPORT.parent}{os.pathsep}{homeport.env['PATH']}",
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
            **{f"GIT_{who}_NAME": "docs" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "docs@localhost" for who in ("AUTHOR", "COMMITTER")},
        }
        self.state.write_text(f"cd {self.home}\n")

    def _own_ports(self, text: str) -> str:
        def own(match: re.Match[str]) -> str:
            return self.ports.setdefault(match[0], str(free_port()))

        return re.sub(r"\b808\d\b", own, text)

    def run(self, line: str) -> tuple[int, str]:
        script = (
            f"source {self.state}\n{line}\nstatus=$?\n"
            f'{{ export -p; printf "cd %q\\n" "$PWD"; }} > {self.state}\nexit $status'
        )
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", script],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=400)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return process.returncode, output

    def read(self, page: str) -> None:
        for step in steps(page):
            if isinstance(step, File):
                _, directory = self.run("pwd")
                path = Path(directory.strip()) / step.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._own_ports(step.text))
                continue
            status, output = self.run(self._own_ports(step.line))
            told = f"$ {step.line}\n{output}"
            assert "Traceback" not in output, told
            assert status == step.status, f"{told}\nexit status {status}, not {step.status}"
            lost = missing(output, [self._own_ports(line) for line in step.expected])
            assert lost is None, f"{told}\nnot told: {lost}"

    def close(self) -> None:
        """End every Homeport that the page started."""
        for file in self.home.rglob("homeport.json"):
            subprocess.run([HOMEPORT, "down", "--data-dir", file.parent], capture_output=True, timeout=300)


def clear_of_the_hour(seconds: float) -> None:
    """Wait where a page of so many seconds would meet the backup that the apps of the pages have by the hour."""
    while (past := time.time() % 3600) < 30 or past > 3600 - seconds:
        time.sleep(1)


@contextmanager
def reading() -> Iterator[Reader]:
    """A reader of several pages, with a Homeport of their own."""
    homeport = Homeport()
    try:
        reader = Reader(homeport)
        try:
            yield reader
        finally:
            reader.close()
    finally:
        homeport.close()


def read(homeport: Homeport, page: str) -> None:
    """Do what a page says; whatever it started is ended."""
    reader = Reader(homeport)
    try:
        reader.read(page)
    finally:
        reader.close()
