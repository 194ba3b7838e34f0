"""Compiled templates are written to a file, which another process reads; a damaged one is ignored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dbt_common.clients.jinja import MacroFuzzEnvironment, get_environment

from api.dbt import lean_templates

TEMPLATE = "{% set value = 21 %}{{ value * 2 }}"


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The function of dbt is as it was after the test."""
    monkeypatch.setattr(MacroFuzzEnvironment, "compile", MacroFuzzEnvironment.compile)
    lean_templates.compile_templates_once()
    forget()
    yield
    forget()


def forget() -> None:
    for kept in (lean_templates.CODE, lean_templates.USED, lean_templates.NEW):
        kept.clear()


def render() -> str:
    return str(get_environment().from_string(TEMPLATE).render({}))


def test_templates_are_read_by_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    lean_templates.read_templates(folder)
    assert render() == "42"
    lean_templates.write_templates(folder)
    forget()
    lean_templates.read_templates(folder)
    assert [source for _, source in lean_templates.CODE] == [TEMPLATE]
    assert render() == "42"
    assert not lean_templates.NEW


@pytest.mark.parametrize("damage", [b"", b"nothing of ours", b"\0" * 5000])
def test_a_damaged_file_is_ignored_and_written_again(tmp_path: Path, damage: bytes) -> None:
    render()
    lean_templates.write_templates(tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: -len(damage) or None][:-1] + damage)
    forget()
    lean_templates.read_templates(tmp_path)
    assert not lean_templates.CODE
    assert render() == "42"
    lean_templates.write_templates(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_templates_that_nobody_uses_leave_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_environment().from_string("of a macro that was removed").render({})
    lean_templates.USED.clear()
    render()
    monkeypatch.setattr(lean_templates, "MAX_KEPT", 1)
    lean_templates.write_templates(tmp_path)
    forget()
    lean_templates.read_templates(tmp_path)
    assert [source for _, source in lean_templates.CODE] == [TEMPLATE]
