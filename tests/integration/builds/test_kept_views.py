"""A nightly build leaves out the views, unless one of them may have changed: by the project, by hand, or by another build."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import pytest

from api.builds.repository import rollback
from api.db.connection import connect
from api.settings import Settings
from tests.integration.builds.project import build, load_campaign, make_test_fail, make_tests_pass
from tests.integration.builds.queries import builds, published_batch, rows
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(600)

VIEW, TEST = "model.mailmart.greetings", "test.mailmart.greetings_are_valid"
MACRO = "{{% macro greeting() -%}} {} {{%- endmacro %}}"
MODELS = """
models:
  - name: greetings
    description: {}
    columns:
      - {{name: campaign_id, data_type: text, description: The campaign.}}
      - {{name: greeting, data_type: text, description: A word.}}
"""
FILES = {
    "macros/greeting.sql": MACRO.format("hello"),
    "models/marts/_models.yml": MODELS.format("What a campaign says"),
    "models/marts/greetings.sql": "select campaign_id, '{{ greeting() }}'::text as greeting from {{ ref('first') }}"
    " where {{ is_current() }}",
    "tests/dbt/greetings_are_valid.sql": "select * from {{ ref('greetings') }} where greeting is null",
}


@pytest.fixture
def with_view(project: Settings) -> Settings:
    """The project with a mart, which is published."""
    for name, text in FILES.items():
        write(project, name, text)
    load_campaign(project, "c1")
    assert build_nightly(project)
    return project


def write(project: Settings, name: str, text: str) -> None:
    path = project.project_root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def build_nightly(project: Settings, *, status: str = "published") -> bool:
    """Makes an attempt of a nightly run; returns whether it has built the view."""
    assert build(project).status == status
    results = json.loads(Path(project.home, "nightly/production/run_results.json").read_text())["results"]
    nodes = {result["unique_id"] for result in results}
    assert TEST in nodes
    return VIEW in nodes


def greetings(project: Settings) -> list[tuple[str, ...]]:
    """What the view that is published says, as the API reads it."""
    ((name,),) = rows(
        project,
        f"select contract -> 'nodes' -> '{VIEW}' ->> 'alias' from app.publications"
        " inner join app.current_publication using (target, batch_id)",
    )
    with connect(project, "mailmart_api") as connection:
        read = connection.execute(f'select greeting from marts_served."{name}"'.encode()).fetchall()
        assert connection.execute("select greeting from marts.greetings").fetchall() == read
    return read


def test_views_that_have_not_changed_are_left_out(with_view: Settings) -> None:
    state = rows(with_view, "select app.view_state('marts', 'greetings')")
    load_campaign(with_view, "c2")
    assert not build_nightly(with_view)
    assert published_batch(with_view) == 2
    assert greetings(with_view) == [("hello",), ("hello",)]
    assert rows(with_view, "select count(distinct contract::text), count(*) from app.publications") == [(1, 2)]
    # a database whose sessions look for names elsewhere has the same views
    with connect(with_view, None, autocommit=True) as connection:
        (database,) = connection.execute("select current_database()").fetchone() or ("",)
        connection.execute(f'alter database "{database}" set search_path = raw, pg_temp'.encode())
    # what somebody else may read is left alone
    with connect(with_view, "mailmart_owner") as connection:
        connection.execute("grant select on marts.greetings to pg_monitor")
    # a data test fails, and is run again without the views
    make_test_fail(with_view, "second")
    assert not build_nightly(with_view, status="failed")
    make_tests_pass(with_view)
    assert build(with_view).status == "published"
    assert builds(with_view)[-2:] == [("build", "failed"), ("retry", "published")]
    assert rows(with_view, "select app.view_state('marts', 'greetings')") == state
    assert rows(with_view, "select has_table_privilege('pg_monitor', 'marts.greetings', 'select')") == [(True,)]
    assert greetings(with_view) == [("hello",), ("hello",)]


BY_HAND: dict[str, str] = {
    "grants": "revoke select on marts.greetings from mailmart_api",
    "the definition": "create or replace view marts.greetings as select campaign_id, 'by hand'::text as greeting from core.first",
    "a column": "alter view marts.greetings rename column greeting to word",
    "how rows are read": "alter view marts.greetings set (security_invoker = false)",
    "it is gone": "drop view marts.greetings",
    "what is served is gone": "do $$ begin execute (select format('drop view marts_served.%I', relname) from pg_class"
    " where relnamespace = 'marts_served'::regnamespace and relkind = 'v'); end $$",
    "nobody knows of it": "delete from app.view_definitions",
}


def test_what_was_changed_by_hand_is_built_again(with_view: Settings) -> None:
    for change in BY_HAND.values():
        with connect(with_view, "mailmart_owner") as connection:
            connection.execute(change.encode())
        assert build_nightly(with_view), change
        assert greetings(with_view) == [("hello",)], change
        assert rows(with_view, "select reloptions from pg_class where oid = 'marts.greetings'::regclass") == [
            (["security_invoker=true"],)
        ]
    assert not build_nightly(with_view)


def views(project: Settings) -> list[tuple[str, ...]]:
    """Each view of the catalog, and its definition and state when it was built."""
    return rows(
        project,
        "select relname, pg_class.oid, definition, state from pg_class"
        " left join app.view_definitions on pg_class.oid = to_regclass(view_schema || '.' || view_name)"
        " where relkind = 'v' order by pg_class.oid",
    )


def test_a_copy_of_the_database_keeps_its_views(with_view: Settings, server: PostgresServer, tmp_path: Path) -> None:
    name = "a_copy_of_views"
    with connect(with_view, None) as connection:
        (database,) = connection.execute("select current_database()").fetchone() or ("",)
    server.create_database(name, database)
    # the sources of the project have another name, so the build is a whole one
    copy = dataclasses.replace(with_view, database_url=server.url(name), home=tmp_path / "home")
    assert build_nightly(copy)
    assert views(copy) == views(with_view)
    assert greetings(copy) == [("hello",)]


def change_macro(project: Settings) -> None:
    write(project, "macros/greeting.sql", MACRO.format("good morning"))


def test_what_another_project_has_built_is_not_kept(with_view: Settings) -> None:
    # a build of another project failed after it had replaced the view
    change_macro(with_view)
    make_test_fail(with_view, "second")
    assert build_nightly(with_view, status="failed")
    make_tests_pass(with_view)
    write(with_view, "macros/greeting.sql", FILES["macros/greeting.sql"])
    assert build_nightly(with_view)
    assert greetings(with_view) == [("hello",)]
    # another one was published, and rolled back
    change_macro(with_view)
    assert build_nightly(with_view)
    assert greetings(with_view) == [("good morning",)]
    rollback(with_view)
    write(with_view, "macros/greeting.sql", FILES["macros/greeting.sql"])
    assert build_nightly(with_view)
    assert greetings(with_view) == [("hello",)]


def described(project: Settings) -> None:
    write(project, "models/marts/_models.yml", MODELS.format("Something else"))


def counted(project: Settings) -> None:
    text = FILES["models/marts/greetings.sql"] + " and campaign_id <> 'c9'"
    write(project, "models/marts/greetings.sql", text)


def granted(project: Settings) -> None:
    text = "{{ config(grants={'+select': ['mailmart_intake']}) }} " + FILES["models/marts/greetings.sql"]
    write(project, "models/marts/greetings.sql", text)


@pytest.mark.parametrize("change", [described, counted, granted])
def test_a_change_of_the_project_builds_everything(with_view: Settings, change: Callable[[Settings], None]) -> None:
    change(with_view)
    assert build_nightly(with_view)
    assert greetings(with_view) == [("hello",)]
    seen: dict[Callable[[Settings], None], LiteralString] = {
        described: f"select contract -> 'nodes' -> '{VIEW}' ->> 'description' = 'Something else' from app.publications"
        " where batch_id = 2",
        counted: "select pg_get_viewdef('marts.greetings'::regclass) like '%c9%'",
        granted: "select has_table_privilege('mailmart_intake', 'marts.greetings', 'select')",
    }
    assert rows(with_view, seen[change]) == [(True,)]
