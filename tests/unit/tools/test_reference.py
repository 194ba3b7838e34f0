"""The reference pages list every setting and every command, and nothing of the machine that wrote them."""

from __future__ import annotations

from pathlib import Path

import click

from api.cli import COMMANDS, main
from api.dbt.profile import PROFILE_VARIABLES
from api.settings import PROJECT_ROOT, Settings, env_vars
from api.tools.reference import cli_reference, settings_reference
from tests.support.command import mailmart


def test_every_setting_is_on_the_page() -> None:
    page = settings_reference()
    for name, _, _ in env_vars():
        assert page.count(f"\n| `{name}` |") == 1, name
    assert "| `MAILMART_PORT` | `8080` | Port that the API listens on. From 0 to 65,535. | `serve`, `sources` |" in page
    assert "| `MAILMART_NIGHTLY_AT` | `02:00` |" in page
    assert str(PROJECT_ROOT) not in page
    assert str(Path.home()) not in page


def test_every_variable_of_the_dbt_profile_is_on_the_page() -> None:
    page = settings_reference()
    example = (PROJECT_ROOT / "profiles.yml.example").read_text()
    for name in PROFILE_VARIABLES:
        assert page.count(f"\n| `{name}` |") == 1, name
        assert f"env_var('{name}'" in example


def test_every_command_is_on_the_page_with_its_options() -> None:
    page = cli_reference()
    for name in COMMANDS:
        assert page.count(f"\n## mailmart {name}\n") == 1, name
    assert "\n### mailmart keys create\n" in page
    assert "`--with-parent`" in page
    assert str(PROJECT_ROOT) not in page


def test_every_command_and_option_has_a_help_text() -> None:
    def check(command: click.Command, path: str) -> None:
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.name}"
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inside = command.get_command(context, name)
                assert inside is not None
                check(inside, f"{path} {name}")

    check(main, "mailmart")


def test_the_command_prints_the_page(tmp_path: Path) -> None:
    assert mailmart(Settings("", None, tmp_path), "settings").output == settings_reference()
