"""``homeport ci``: a workflow for teams who keep their checks at GitHub or GitLab; what passes there is pushed here."""

import json
from collections.abc import Callable
from pathlib import Path

import click

from homeport.cli.context import SPEC, Session, pass_session
from homeport.cli.ship import NO_SPEC_HERE
from homeport.cli.source import NO_REPOSITORY
from homeport.kernel.errors import Kind, declare
from homeport.spec.model import Check, Spec
from homeport.spec.parse import parse
from homeport.system import process

WORKFLOW_THERE = declare(
    "cli.workflow_there", Kind.CONFLICT, "A file of the name that homeport ci would write is there."
)

_GITHUB = """\
# Written by homeport ci github. Checks run here; what passes them is pushed to Homeport, and the job ends as the
# run there does. Needed, under Settings > Secrets and variables > Actions:
#   secret   HOMEPORT_SSH_KEY      a private key without a passphrase; its public one: homeport git-key ci KEY --install
#   variable HOMEPORT_REMOTE       such as deploy@example.com:{app}.git
#   variable HOMEPORT_KNOWN_HOSTS  what ssh-keyscan example.com prints, compared with the host's own keys
name: homeport
on:
  push:
    branches: [{branch}]
permissions:
  contents: read
concurrency:
  group: homeport
  cancel-in-progress: false
jobs:
  ship:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0
          persist-credentials: false
{checks}\
      - name: Push to Homeport
        env:
          HOMEPORT_SSH_KEY: ${{{{ secrets.HOMEPORT_SSH_KEY }}}}
          HOMEPORT_REMOTE: ${{{{ vars.HOMEPORT_REMOTE }}}}
          HOMEPORT_KNOWN_HOSTS: ${{{{ vars.HOMEPORT_KNOWN_HOSTS }}}}
        run: |
          set -eu
          keys=$(mktemp -d)
          trap 'rm -rf "$keys"' EXIT
          (umask 077; printf '%s\\n' "$HOMEPORT_SSH_KEY" > "$keys/key")
          printf '%s\\n' "$HOMEPORT_KNOWN_HOSTS" > "$keys/known_hosts"
          export GIT_SSH_COMMAND="ssh -i $keys/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$keys/known_hosts -o StrictHostKeyChecking=yes"
          git push "$HOMEPORT_REMOTE" {target}
"""

_GITLAB = """\
# Written by homeport ci gitlab. Checks run here; what passes them is pushed to Homeport, and the job ends as the
# run there does. Needed, under Settings > CI/CD > Variables:
#   file     HOMEPORT_SSH_KEY      a private key without a passphrase; its public one: homeport git-key ci KEY --install
#   variable HOMEPORT_REMOTE       such as deploy@example.com:{app}.git
#   file     HOMEPORT_KNOWN_HOSTS  what ssh-keyscan example.com prints, compared with the host's own keys
workflow:
  rules:
    - if: {condition}
stages:
  - check
  - ship
{checks}\
homeport:
  stage: ship
  image: debian:stable-slim
  resource_group: homeport
  variables:
    GIT_DEPTH: "0"
  before_script:
    - apt-get update -qq
    - apt-get install -y -qq --no-install-recommends git openssh-client
  script:
    - |
      set -eu
      keys=$(mktemp -d)
      (umask 077; cat "$HOMEPORT_SSH_KEY" > "$keys/key"; echo >> "$keys/key")
      export GIT_SSH_COMMAND="ssh -i $keys/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$HOMEPORT_KNOWN_HOSTS -o StrictHostKeyChecking=yes"
      git push "$HOMEPORT_REMOTE" {target}
"""


@click.group()
def ci() -> None:
    """A workflow for GitHub or GitLab that checks there and ships here."""


def github_workflow(spec: Spec) -> str:
    """YAML for .github/workflows."""
    steps = "".join(
        f"      - name: {_text(check.name)}\n"
        f"        timeout-minutes: {_minutes(check)}\n"
        f"        run: {_text(check.command)}\n"
        for check in _checks(spec)
    )
    branch = spec.pipeline.branch
    return _GITHUB.format(
        app=spec.app,
        branch=_text(branch),
        target=_target(branch),
        checks=steps or "      # Checks of your own go here.\n",
    )


def gitlab_workflow(spec: Spec) -> str:
    """YAML for .gitlab-ci.yml."""
    jobs = "".join(
        f"{_text(f'check {check.name}')}:\n"
        "  stage: check\n"
        f"  timeout: {_minutes(check)} minutes\n"
        f"  script:\n    - {_text(check.command)}\n"
        for check in _checks(spec)
    )
    branch = spec.pipeline.branch
    return _GITLAB.format(
        app=spec.app,
        condition=_text(f'$CI_COMMIT_BRANCH == "{branch}"'),
        target=_target(branch),
        checks=jobs or "# Checks of your own go here, as jobs of stage check.\n",
    )


@ci.command()
@click.option("--write", is_flag=True, help="Write .github/workflows/homeport.yml; one that is there stays.")
@pass_session
def github(session: Session, write: bool) -> None:
    """Print a GitHub Actions workflow."""
    _give(session, github_workflow, Path(".github/workflows/homeport.yml"), write)


@ci.command()
@click.option("--write", is_flag=True, help="Write .gitlab-ci.yml; one that is there stays.")
@pass_session
def gitlab(session: Session, write: bool) -> None:
    """Print a GitLab CI/CD configuration."""
    _give(session, gitlab_workflow, Path(".gitlab-ci.yml"), write)


def _give(session: Session, make: Callable[[Spec], str], place: Path, write: bool) -> None:
    project = session.project()
    if project is None:
        raise NO_SPEC_HERE.error(
            f"cannot write a workflow: there is no {SPEC} in {session.directory} or above",
            hint="homeport init writes one",
        )
    workflow = make(parse((project / SPEC).read_text("utf-8", "replace"), path=str(project / SPEC)))
    if not write:
        session.show({"path": str(place), "workflow": workflow}, lambda _: click.echo(workflow, nl=False))
        return
    top = process.run(("git", "rev-parse", "--show-toplevel"), timeout=30.0, cwd=project, check=False)
    if not top.ok:
        raise NO_REPOSITORY.error(f"cannot write a workflow: {project} is in no git repository")
    path = Path(top.stdout.rstrip("\n")) / place
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(workflow)
    except FileExistsError as e:
        raise WORKFLOW_THERE.error(
            f"cannot write {path}: it is there", hint="without --write it is printed, to be merged by hand"
        ) from e
    session.show(
        {"path": str(path), "workflow": workflow},
        lambda _: click.echo(f"wrote {path}; its first lines say what it needs"),
    )


def _checks(spec: Spec) -> list[Check]:
    return [check for stage in spec.pipeline.stages if stage.kind == "check" for check in stage.checks]


def _minutes(check: Check) -> int:
    return max(1, -(-int(check.timeout) // 60))


def _target(branch: str) -> str:
    return f'"HEAD:refs/heads/{branch}"'


def _text(text: str) -> str:
    """Any text as one YAML scalar: a JSON string is one (YAML 1.2, 1.3)."""
    return json.dumps(text)
