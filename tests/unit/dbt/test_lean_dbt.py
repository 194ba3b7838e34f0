"""What our processes leave out of dbt: only in releases that the tests have run with, and a command finds the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.dbt import lean_dbt
from api.dbt.command import without_debug_events
from api.settings import PROJECT_ROOT


def test_the_locked_release_was_tested() -> None:
    lock = (PROJECT_ROOT / "requirements.lock").read_text()
    locked = tuple(re.findall(rf"^{name}==(\S+)", lock, re.MULTILINE)[0] for name in lean_dbt.PACKAGES)
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
    ("arguments", "environment", "folder"),
    [
        ("build --target-path a", {"DBT_TARGET_PATH": "b", "DBT_PROJECT_DIR": "/c"}, "a"),
        ("build --target-path=a", {"DBT_TARGET_PATH": "b"}, "a"),
        ("build", {"DBT_TARGET_PATH": "b", "DBT_PROJECT_DIR": "/c"}, "b"),
        ("show --select a", {"DBT_PROJECT_DIR": "/c"}, "/c/target"),
        ("show --project-dir /d", {"DBT_PROJECT_DIR": "/c"}, "/d/target"),
        ("show", {}, None),
    ],
)
def test_the_target_folder_is_that_of_dbt(arguments: str, environment: dict[str, str], folder: str | None) -> None:
    assert lean_dbt.target_folder(arguments.split(), environment) == (Path(folder) if folder else None)


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


MACROS = """
from types import SimpleNamespace
from typing import Any

from dbt.clients.jinja import MacroGenerator, MacroStack
from dbt.context.base import BaseContext

from api.dbt.lean_context import make_macros_when_they_are_called

BODIES = {
    "first": "{{ second(n) }}",
    "second": "{% if n == 0 %}{{ 1 | join }}{% elif n == 1 %}{{ return([7]) }}{% elif n == 2 %}{{ first(1) }}"
    "{% else %}{{ missing.attribute }}{% endif %}",
}


def results() -> list[Any]:
    context: dict[str, Any] = {"return": BaseContext._return}
    stack, depends_on = MacroStack(), set()
    node = SimpleNamespace(depends_on=SimpleNamespace(add_macro=depends_on.add))
    for name, body in BODIES.items():
        macro = SimpleNamespace(
            name=name,
            macro_sql="{% macro " + name + "(n) %}" + body + "{% endmacro %}",
            unique_id=f"macro.project.{name}",
            original_file_path=f"macros/{name}.sql",
            resource_type="macro",
            package_name="project",
        )
        context[name] = MacroGenerator(macro, context, node, stack)
    found = []
    for arguments in ((1,), (2,), (0,), (3,), (1, 2), (1,)):
        try:
            result = repr(context["first"](*arguments))
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        found.append((arguments, result, stack.depth, sorted(depends_on)))
    return found


plain = results()
make_macros_when_they_are_called()
assert results() == plain, (results(), plain)
print(plain)
"""


@pytest.mark.slow
def test_macros_return_and_fail_as_in_dbt() -> None:
    """Results, calls of each other, dependencies, and errors with the macros that called each other."""
    done = subprocess.run([sys.executable, "-c", MACROS], capture_output=True, text=True, check=False, cwd=PROJECT_ROOT)
    assert done.returncode == 0, done.stderr
    assert "[7]" in done.stdout
    assert done.stdout.count("Compilation Error") == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "status", "text"), [("--help", 0, "Usage: dbt"), ("nothing-of-dbt", 2, "No such command 'nothing-of-dbt'")]
)
def test_the_command_has_the_output_and_the_status_of_dbt(argument: str, status: int, text: str) -> None:
    command = [sys.executable, "-m", "api.dbt.command", argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT_ROOT)
    assert done.returncode == status
    assert text in done.stdout + done.stderr
