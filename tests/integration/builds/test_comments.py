"""Builds write the descriptions of tables and columns as comments, if they are others than those in the catalog."""

from __future__ import annotations

import json

from api.db.connection import connect
from api.settings import Settings
from tests.integration.builds.project import FILES, build, load_campaign
from tests.integration.builds.queries import rows

MODELS = "models/core/_models.yml"


def describe(settings: Settings, model: str, column: str) -> None:
    """Descriptions of the model `first` and of its column `name`."""
    text = FILES[MODELS].replace("  - name: first\n", f"  - name: first\n    description: {json.dumps(model)}\n")
    text = text.replace(
        "- {name: name, data_type: text}", f"- {{name: name, data_type: text, description: {json.dumps(column)}}}", 1
    )
    (settings.project_root / MODELS).write_text(text)


def comments(settings: Settings) -> list[tuple[str | None, str | None, str | None]]:
    """Those of the table `first`, and of its columns `campaign_id` and `name`."""
    return rows(
        settings,
        "select obj_description(oid, 'pg_class'), col_description(oid, 1), col_description(oid, 2)"
        " from pg_class where oid = 'core.first'::regclass",
    )


def writes(settings: Settings) -> list[tuple[str, ...]]:
    """The transactions that have written comments of the project's tables."""
    return rows(
        settings,
        "select objoid::regclass::text, objsubid::text, pg_description.xmin::text from pg_description"
        " inner join pg_class on pg_class.oid = objoid where relnamespace = 'core'::regnamespace order by 1, 2",
    )


def build_new(settings: Settings) -> None:
    load_campaign(settings, f"c{len(rows(settings, 'select from raw.campaigns'))}")
    assert build(settings).status == "published"


def test_comments_are_those_of_the_project(project: Settings) -> None:
    describe(project, "Campaigns", "What it is called, or ''")
    build_new(project)
    assert comments(project) == [("Campaigns", None, "What it is called, or ''")]
    written = writes(project)
    assert written

    # nothing is written again
    build_new(project)
    assert writes(project) == written

    # of the table alone, of a column alone, and one that has no description any more
    for column, number in (("What it is called, or ''", 1), ("A name", 1), ("", 0)):
        before = writes(project)
        describe(project, "All campaigns", column)
        build_new(project)
        assert comments(project) == [("All campaigns", None, column or None)]
        assert len(set(writes(project)) - set(before)) == number

    # what somebody has changed by hand is repaired
    with connect(project, "mailmart_owner") as connection:
        connection.execute("comment on table core.first is null; comment on column core.first.name is 'by hand'")
    build_new(project)
    assert comments(project) == [("All campaigns", None, None)]


def test_a_new_column_has_its_comment(project: Settings) -> None:
    build_new(project)
    text = FILES[MODELS].replace(
        "- {name: name, data_type: text}",
        "- {name: name, data_type: text}\n      - {name: status, data_type: text, description: Where it is}",
        1,
    )
    (project.project_root / MODELS).write_text(text)
    model = project.project_root / "models/core/first.sql"
    model.write_text(model.read_text().replace("campaign_id, name,", "campaign_id, name, status,"))
    build_new(project)
    assert rows(
        project,
        "select col_description(attrelid, attnum) from pg_attribute"
        " where attrelid = 'core.first'::regclass and attname = 'status'",
    ) == [("Where it is",)]
