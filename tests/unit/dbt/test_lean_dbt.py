"""What our processes leave out of dbt: only in releases that the tests have run with, and a command finds the same."""

from __future__ import annotations

import re

import pytest

from api.dbt import lean_dbt
from api.dbt.command import without_debug_events
from api.settings import PROJECT_ROOT


def test_the_locked_release_was_tested() -> None:
    lock = (PROJECT_ROOT / "requirements.lock").read_text()
    locked = tuple(re.findall(rf"^{name}==(\S+)", lock, re.MULTILINE)[0] for name in ("dbt-core", "dbt-common"))
    assert locked in lean_dbt.TESTED, "run `make test` with the new release in TESTED, and leave it there if all passes"


def test_another_release_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_dbt, "version", lambda package: "1.11.999")
    assert not lean_dbt.is_lean()


@pytest.mark.parametrize(
    ("arguments", "environment", "asks"),
    [
        ("build", {}, False),
        ("build --log-level-file warn", {"DBT_DEBUG": "false", "DBT_LOG_LEVEL": "info"}, False),
        ("build", {"DBT_DEBUG": "1"}, True),
        ("build", {"DBT_LOG_LEVEL_FILE": "debug"}, True),
        ("--debug build", {}, True),
        ("build --log-level-file debug", {}, True),
        ("build --log-level=debug", {}, True),
    ],
)
def test_debug_events_are_made_if_they_are_wanted(arguments: str, environment: dict[str, str], asks: bool) -> None:
    assert lean_dbt.asks_for_debug_events(arguments.split(), environment) == asks


@pytest.mark.parametrize(
    ("arguments", "complete"),
    [
        ("build --select a", "--log-level-file info build --select a"),
        # dbt refuses an option that is there twice
        ("build --log-level-file none", "build --log-level-file none"),
        ("build --log-level-file=warn", "build --log-level-file=warn"),
    ],
)
def test_the_log_file_has_no_debug_events_that_are_not_made(arguments: str, complete: str) -> None:
    assert without_debug_events(arguments.split()) == complete.split()


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("select 1", None),
        ("with a as (select 1) select * from a", "with"),
        ("-- a comment\n/* and\nanother */ WITH recursive a as (select 1) select * from a", "WITH"),
        ("without as (select 1)", None),
        ("", None),
    ],
)
def test_the_first_word_of_a_statement_is_the_parser_s(sql: str, first: str | None) -> None:
    word = lean_dbt.first_word(sql)
    assert (word and word[1]) == first
