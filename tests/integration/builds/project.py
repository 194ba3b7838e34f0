"""A dbt project of two models with the real project's settings and macros: quick to build, with tests that fail on demand."""

from __future__ import annotations

import dataclasses
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from api.builds.dbt_attempt import AttemptResult, run_attempt
from api.builds.nightly import nightly_lock
from api.db.connection import connect
from api.dbt.installed_parse import PARSE
from api.settings import PROJECT_ROOT, Settings
from tests.support.forked_dbt import SMALL_PROJECT, run_forked
from tests.support.parse_command import parse_arguments, parse_environment
from tests.support.run_folder import once_per_run, run_folder

FILES = {
    "models/core/_models.yml": """
sources:
  - name: raw
    schema: raw
    tables: [{name: campaigns}]
models:
  - name: first
    data_tests: [one_version_at_a_time, {valid_rows: {arguments: {not_empty: [campaign_id]}}}]
    columns:
      - {name: campaign_id, data_type: text}
      - {name: name, data_type: text}
      - {name: valid_from, data_type: bigint}
      - {name: valid_to, data_type: bigint}
  - name: second
    data_tests: [one_version_at_a_time]
    columns:
      - {name: name, data_type: text}
      - {name: campaigns, data_type: bigint}
      - {name: valid_from, data_type: bigint}
      - {name: valid_to, data_type: bigint}
""",
    "models/core/_exposures.yml": """
exposures:
  - name: campaign_names
    type: application
    owner: {name: api}
    depends_on: [ref('second')]
""",
    "models/core/first.sql": """
{{ config(unique_key=['campaign_id'], meta={'full_snapshot': true}) }}
select campaign_id, name, {{ batch_id() }}::bigint as valid_from, {{ open_ended() }}::bigint as valid_to
from {{ source('raw', 'campaigns') }}
""",
    "models/core/second.sql": """
{{ config(unique_key=['name'], meta={'full_snapshot': true}) }}
select name, count(*) as campaigns, {{ batch_id() }}::bigint as valid_from, {{ open_ended() }}::bigint as valid_to
from {{ ref('first') }}
where {{ is_current() }}
group by name
""",
    "seeds/words.csv": "word\nmail\n",
    # between the two models: if it fails, the second one is skipped
    "tests/dbt/first_is_valid.sql": "-- depends_on: {{ ref('first') }}\nselect * from raw.failing_tests where model = 'first'\n",
    # the last node
    "tests/dbt/second_is_valid.sql": "-- depends_on: {{ ref('second') }}\n"
    "select * from raw.failing_tests where model = 'second'\n",
}


def small_project(settings: Settings, folder: Path) -> Settings:
    """Creates the project in the folder, and the table that makes its data tests fail."""
    parsed = run_folder() / SMALL_PROJECT
    once_per_run(SMALL_PROJECT, lambda: _parse(parsed))
    _write_files(folder)
    shutil.copy(parsed / PARSE, folder)
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("create table raw.failing_tests (model text)")
    return dataclasses.replace(settings, project_root=folder)


def _parse(folder: Path) -> None:
    """Writes the project into the folder, and dbt's parse of it: the macros take dbt five seconds."""
    _write_files(folder)
    shutil.copy(folder / "profiles.yml.example", folder / "profiles.yml")
    completed = run_forked(parse_arguments(folder), {**os.environ, **parse_environment()}, folder, timeout=240)
    assert completed.returncode == 0, completed.stdout


def _write_files(folder: Path) -> None:
    for part in ("macros", "dbt_project.yml", "profiles.yml.example"):
        source = PROJECT_ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def make_test_fail(settings: Settings, model: str) -> None:
    """From now on, the data test of the model `first` or `second` fails."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("insert into raw.failing_tests values (%s)", (model,))


def make_tests_pass(settings: Settings) -> None:
    """From now on, both data tests pass."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("delete from raw.failing_tests")


def load_campaign(settings: Settings, campaign: str) -> None:
    """Inserts a row that changes both models."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("insert into raw.campaigns (campaign_id, workspace_id, name) values (%s, 'w', 'n')", (campaign,))


def build(settings: Settings) -> AttemptResult:
    """Makes an attempt of a nightly run that began long ago."""
    with nightly_lock(settings) as lock:
        assert lock.acquire()
        return run_attempt(settings, lock, since=datetime.min.replace(tzinfo=UTC), should_continue=lambda: True)


def fail_build(settings: Settings, model: str) -> None:
    """Makes an attempt in which the model's data test fails; afterwards the test passes again."""
    make_test_fail(settings, model)
    assert build(settings).status == "failed"
    make_tests_pass(settings)
