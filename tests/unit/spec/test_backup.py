"""What ``[backup]`` may say, and what is refused."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.model import Spec
from homeport.spec.model_backup import PROOF_RATE, Backup, Keep, Mask, ProofQuery
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n[database.main]\n[database.reports]\n'


def read(text: str) -> Spec:
    return parse(APP + text)


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(text)
    return [detail.partition(" ")[2] for detail in caught.value.details]


def test_an_empty_table_is_a_backup_with_what_holds_without_a_word() -> None:
    assert read("").backup is None
    assert read("[backup]").backup == Backup()
    assert Backup().keep == Keep(24, 30, 12, 12)


def test_every_key() -> None:
    spec = read("""[backup]
schedule = "30 * * * *"
full = "@weekly"
timezone = "Europe/Berlin"
window = "14d"
synchronous = true
proof_rate = "40MB/s"
rate = "1GiB/s"
rpo = "30s"
rto = "5m"
drill = "weekly"
drill_scenarios = ["cluster-lost", "table-dropped"]
keep = { hourly = 48, monthly = 0 }
[backup.proof]
orders = " SELECT 1; "
[backup.proof.books]
query = "SELECT sum(amount) FROM entries"
expect = "0"
database = "reports"
[backup.mask]
"users.email" = "email"
"reports:crm.people.born" = "date"
""")
    assert spec.backup == Backup(
        "30 * * * *", "@weekly", "Europe/Berlin", 14 * 86400.0, True, Keep(48, 30, 12, 0),
        (
            ProofQuery("orders", "SELECT 1"),
            ProofQuery("books", "SELECT sum(amount) FROM entries", "0", "reports"),
        ),
        (
            Mask("public.users", "email", "email"),
            Mask("crm.people", "born", "date", "reports"),
        ),
        1 << 30, 40_000_000, 30.0, 300.0, "@weekly", ("cluster-lost", "table-dropped"),
    )  # fmt: skip


def test_a_rate_may_be_none() -> None:
    backup = read('[backup]\nproof_rate = "unlimited"').backup
    assert backup is not None and (backup.rate, backup.proof_rate) == (None, None)
    assert Backup().proof_rate == PROOF_RATE == 100_000_000


def test_an_environment_alone_may_be_backed_up_and_changes_what_the_app_says() -> None:
    spec = read("[environments.staging]\n[environments.production.backup]\nwindow = '3d'")
    assert (spec.backup, spec.for_environment("staging").backup) == (None, None)
    assert spec.for_environment("production").backup == Backup(window=3 * 86400.0)

    spec = read("[backup]\nkeep = { daily = 7 }\n[environments.staging.backup.keep]\nhourly = 1")
    staging = spec.for_environment("staging").backup
    assert spec.backup is not None and staging is not None
    assert (spec.backup.keep, staging.keep) == (Keep(daily=7), Keep(1, 7))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[backup]\nschedul = '@daily'", "at 'backup.schedul': unknown key; did you mean \"schedule\"?"),
        ("[backup]\nwindow = '1m'", "at 'backup.window': must be a duration from 1h to 400d"),
        ("[backup.keep]\nhourly = -1", "at 'backup.keep.hourly': must be a whole number from 0 to 1000"),
        ("[backup]\nfull = '0 99 * * *'", "at 'backup.full': "),
        ("[backup]\ntimezone = 'Berlin'", "at 'backup.timezone': "),
        ("[backup]\nproof_rate = '1MB/s'", "at 'backup.proof_rate': must be a rate from 5MB/s to 100GB/s"),
        ("[backup]\nrate = '10MB'", "at 'backup.rate': must be a rate"),
        ("[backup]\nrate = 0", "at 'backup.rate': must be a rate"),
        ("[backup]\nrpo = '0s'", "at 'backup.rpo': must be a duration from 1s"),
        ("[backup]\ndrill = 'sometimes'", "at 'backup.drill': must have five fields"),
        ("[backup]\ndrill_scenarios = []", "at 'backup.drill_scenarios': must be an array of scenarios"),
        ("[backup]\ndrill_scenarios = ['fire']", "at 'backup.drill_scenarios': must be \"table-dropped\""),
        (
            "[backup]\ndrill_scenarios = ['cluster-lost', 'cluster-lost']",
            "at 'backup.drill_scenarios': must name each scenario once",
        ),
        ("[[backup]]", "at 'backup': must be a table"),
        ("[backup.repositories.here]\npath = '/b'", "at 'backup.repositories': unknown"),
        ("[backup.proof]\na = ''", "at 'backup.proof.a': must be an SQL query"),
        ("[backup.proof.a]\nexpect = '1'", "at 'backup.proof.a': needs a key \"query\""),
        (
            "[backup.proof.a]\nquery = 'SELECT 1'\ndatabase = 'report'",
            "at 'backup.proof.a.database': is about no database of this file; did you mean \"reports\"?",
        ),
        ("[backup.mask]\nemail = 'email'", "at 'backup.mask.email': must be a table and its column"),
        ("[backup.mask]\n'a.b' = 'mail'", 'must be "email" or '),
        (
            "[backup.mask]\n'users.email' = 'email'\n'main:public.users.email' = 'hash'",
            "is the same column as 'backup.mask.\"users.email\"' in line ",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, problem: str) -> None:
    [told] = problems(text)
    assert problem in told


def test_a_query_of_no_database_is_refused() -> None:
    with pytest.raises(HomeportError) as caught:
        parse('[app]\nname = "a"\n[processes.web]\ncommand = "x"\n[backup.proof]\nn = "SELECT 1"')
    assert "is about the database" in caught.value.details[0]
