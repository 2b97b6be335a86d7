"""Which stages hold: those of the file, those without a file, and the approvals that gates ask for."""

import pytest

from homeport.spec.model import Stage
from homeport.spec.parse import parse
from homeport.spec.pipelines import stages_of, unlike

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'
GATE = '[environments.production]\ngate = "approval"\n'


def names(stages: str, text: str = GATE) -> list[str]:
    """Of stages written as "deploy staging, approve"."""
    written = ""
    for stage in stages.split(", "):
        kind, _, environment = stage.partition(" ")
        written += f"[[pipeline.stage]]\nkind = '{kind}'\n"
        written += f"environment = '{environment}'\n" if environment else ""
    return [stage.name for stage in stages_of(parse(f"{APP}{text}[environments.staging]\n{written}"))]


def test_without_stages_an_app_is_built_and_deployed() -> None:
    assert stages_of(parse(APP)) == (
        Stage("build", "build"),
        Stage("deploy", "deploy production", "production"),
    )


def test_without_stages_a_gate_is_asked_at() -> None:
    assert stages_of(parse(APP + GATE)) == (
        Stage("build", "build"),
        Stage("approve", "approve production", "production", timeout=7 * 86400.0),
        Stage("deploy", "deploy production", "production"),
    )


def test_the_default_environment_decides() -> None:
    spec = parse(APP.replace("[proc", 'environment = "qa"\n[proc') + GATE)
    assert [stage.name for stage in stages_of(spec)] == ["build", "deploy qa"]


@pytest.mark.parametrize(
    ("stages", "hold"),
    [
        ("deploy staging", ["deploy staging"]),
        ("deploy", ["approve production", "deploy production"]),
        ("approve, deploy", ["approve production", "deploy production"]),
        ("approve staging, deploy", ["approve staging", "approve production", "deploy production"]),
        (
            "deploy staging, approve, verify staging, deploy",
            ["deploy staging", "approve production", "verify staging", "deploy production"],
        ),
        (
            "approve production, deploy staging, deploy",
            ["approve production", "deploy staging", "approve production 2", "deploy production"],
        ),
        (
            "deploy, deploy production",
            ["approve production", "deploy production", "approve production 2", "deploy production 2"],
        ),
        (
            "approve, deploy, verify, deploy production",
            [
                "approve production",
                "deploy production",
                "verify production",
                "approve production 2",
                "deploy production 2",
            ],
        ),
    ],
)
def test_no_deploy_goes_past_a_gate(stages: str, hold: list[str]) -> None:
    assert names(stages) == hold


def test_without_a_gate_the_file_holds_as_it_is() -> None:
    assert names("deploy staging, deploy", "[environments.production]\n") == [
        "deploy staging",
        "deploy production",
    ]


def test_what_the_file_says_is_not_changed() -> None:
    spec = parse(f"{APP}{GATE}[[pipeline.stage]]\nkind = 'deploy'\n")
    assert [stage.kind for stage in spec.pipeline.stages] == ["deploy"]
    assert [stage.kind for stage in stages_of(spec)] == ["approve", "deploy"]


def test_a_name_that_is_free() -> None:
    assert unlike((), "a") == "a"
    assert unlike(("a", "a 2", "a 3"), "a") == "a 4"
