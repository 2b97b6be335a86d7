"""Workflows that call Homeport."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_rig import Cli

from homeport.cli.ci import github_workflow, gitlab_workflow
from homeport.kernel.ids import AppName, ProcessName
from homeport.spec.model import Build, Check, Pipeline, Process, Rollout, Spec, Stage

ODD = 'echo "it\'s: #1" && printf \'%s\\n\' "ünï" || true'


def spec(*checks: Check, branch: str = "main") -> Spec:
    return Spec(
        app=AppName("shop"),
        build=Build(),
        processes=(Process(ProcessName("web"), "run"),),
        routes=(),
        rollout=Rollout(),
        pipeline=Pipeline((Stage("check", "check", checks=checks),) if checks else (), branch),
    )


def test_github() -> None:
    made = yaml.safe_load(github_workflow(spec(Check("lint", ODD, 61.0), Check("on", "x"))))
    assert made[True]["push"]["branches"] == ["main"]  # "on", to YAML 1.1
    assert made["permissions"] == {"contents": "read"}
    steps = made["jobs"]["ship"]["steps"]
    assert [s.get("run") for s in steps[1:3]] == [ODD, "x"]
    assert steps[1]["timeout-minutes"] == 2 and steps[2]["name"] == "on"
    assert steps[0]["with"]["fetch-depth"] == 0
    assert 'git push "$HOMEPORT_REMOTE" "HEAD:refs/heads/main"' in steps[-1]["run"]
    assert steps[-1]["env"]["HOMEPORT_SSH_KEY"] == "${{ secrets.HOMEPORT_SSH_KEY }}"
    assert "StrictHostKeyChecking=yes" in steps[-1]["run"]


def test_gitlab() -> None:
    made = yaml.safe_load(gitlab_workflow(spec(Check("lint", ODD, 61.0))))
    assert made["check lint"]["script"] == [ODD] and made["check lint"]["timeout"] == "2 minutes"
    assert made["workflow"]["rules"] == [{"if": '$CI_COMMIT_BRANCH == "main"'}]
    assert made["homeport"]["variables"]["GIT_DEPTH"] == "0"
    assert 'git push "$HOMEPORT_REMOTE" "HEAD:refs/heads/main"' in made["homeport"]["script"][0]


@pytest.mark.parametrize("make", [github_workflow, gitlab_workflow])
def test_without_checks_and_with_a_branch_of_its_own(make: Any) -> None:
    text = make(spec(branch="release/1.0"))
    assert yaml.safe_load(text) and "HEAD:refs/heads/release/1.0" in text
    assert "{" not in text.replace("${{", "").replace("{{", "") or "branches" in text


def test_where_there_is_no_app(cli: Cli) -> None:
    result = cli.run("ci", "github", status=3)
    assert "no homeport.toml" in result.output


def test_nothing_is_written_by_itself(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "homeport.toml").write_text(
        '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n[routes]\n"shop.localhost" = "web"\n'
    )
    result = cli.run("ci", "gitlab")
    assert yaml.safe_load(result.output)["stages"] == ["check", "ship"]
    assert [p.name for p in tmp_path.iterdir()] == ["homeport.toml"]
