"""A dbt project of two models, with the real one's settings and macros: quick to build, to break and to mend."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path

from api.builds.dbt_attempt import Attempt, attempt
from api.db.connection import connect
from api.settings import PROJECT_ROOT, Settings

FILES = {
    "models/core/_models.yml": """
sources:
  - name: raw
    schema: raw
    tables: [{name: campaigns}]
models:
  - name: first
    data_tests: [unique_current_key, one_version_at_a_time]
    columns:
      - {name: campaign_id, data_type: text, data_tests: [not_empty]}
      - {name: name, data_type: text}
      - {name: valid_from, data_type: bigint}
      - {name: valid_to, data_type: bigint}
  - name: second
    data_tests: [unique_current_key]
    columns:
      - {name: name, data_type: text}
      - {name: campaigns, data_type: bigint}
      - {name: valid_from, data_type: bigint}
      - {name: valid_to, data_type: bigint}
""",
    "models/core/_exposures.yml": """
exposures:
  - name: shown
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
    # between the two: where it fails, the second model is skipped
    "tests/dbt/first_is_whole.sql": "-- depends_on: {{ ref('first') }}\nselect * from raw.broken where place = 'first'\n",
    # the last of all
    "tests/dbt/second_is_whole.sql": "-- depends_on: {{ ref('second') }}\nselect * from raw.broken where place = 'second'\n",
}


def small_project(settings: Settings, folder: Path) -> Settings:
    """Makes the project, and the table in which a test says what is broken."""
    for part in ("macros", "dbt_project.yml", "profiles.yml.example"):
        source = PROJECT_ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("create table raw.broken (place text)")
    return dataclasses.replace(settings, project_root=folder)


def break_it(settings: Settings, place: str) -> None:
    """From now on the data test of the first or the second model fails."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("insert into raw.broken values (%s)", (place,))


def mend_it(settings: Settings) -> None:
    """It does not fail any longer."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("delete from raw.broken")


def land_campaign(settings: Settings, campaign: str) -> None:
    """A row that both models see."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("insert into raw.campaigns (campaign_id, workspace_id, name) values (%s, 'w', 'n')", (campaign,))


def build(settings: Settings) -> Attempt:
    """One try of a nightly run that began long ago."""
    return attempt(settings, since=datetime.min.replace(tzinfo=UTC), should_continue=lambda: True)


def fail(settings: Settings, place: str) -> None:
    """One that fails; what was broken is mended afterwards."""
    break_it(settings, place)
    assert build(settings).status == "failed"
    mend_it(settings)
