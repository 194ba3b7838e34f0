"""The reference pages of the documentation that are written from code: settings and commands, as Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import time
from importlib.metadata import entry_points
from itertools import groupby
from typing import Any

import click

from api.dbt.profile import PROFILE_VARIABLES
from api.settings import EnvVar, Settings, bounds, env_vars

SETTINGS_INTRODUCTION = """# Settings

Every setting is a variable, read once when a process starts. The first of these sources that has it is used:

1. the environment. An empty variable means the default.
2. the file `.env` in the working directory, or the file that `MAILMART_ENV_FILE` names. `MAILMART_ENV_FILE=off`: no file.
3. what `mailmart run` or `mailmart demo` has written to `running.env` in `MAILMART_HOME`, while it runs. Commands that start
   services do not read it: `run`, `demo`, `serve`, `intake`, `worker`, `scheduler` and `bench`.
4. the default.

The file `.env`:

- has a `NAME=value` a line. `export` before it, comments, single and double quotes are read as Docker Compose reads them.
- has the variables `MAILMART_…` of this page, and `AWS_…` for boto3. Others are ignored. An unknown `MAILMART_…` is an error.
- expands no variable. A value with a `$` needs single quotes.
- has paths that are relative to its own folder.
- must belong to you or to root, and must not be writable by anybody else.

`running.env` has the addresses, the URLs of PostgreSQL and Valkey, and the settings that other commands read. Only its owner
can read it. It has no secret of a service, such as `MAILMART_SMTP_URL`, and no variable of boto3: put those into `.env`.

`run` and `demo` pass their settings on to `serve`, `intake`, `worker` and `scheduler`.
"""
DBT_INTRODUCTION = """The dbt profile (`profiles.yml.example`) reads these. `mailmart env` prints them for plain dbt;
`mailmart build`, `mailmart demo` and the scheduler set them by themselves.
"""
COMMANDS_INTRODUCTION = """# Commands

Every command has `--help`. A command that fails prints what is wrong and how to fix it, and exits with status 1; wrong
arguments exit with status 2.
"""


def settings_reference() -> str:
    """The page of all settings: a table a section, in the order of the fields of `Settings`."""
    lines = [SETTINGS_INTRODUCTION]
    for section, settings in groupby(env_vars(), key=lambda setting: setting[2].section):
        lines += [f"## {section}", "", "| Variable | Default | Description | Read by |", "|---|---|---|---|"]
        lines += [_setting_row(*setting) for setting in settings]
        lines.append("")
    lines += ["## dbt", "", DBT_INTRODUCTION, "| Variable | Description |", "|---|---|"]
    lines += [_row(f"`{name}`", description) for name, description in PROFILE_VARIABLES.items()]
    return "\n".join([*lines, ""])


def _setting_row(name: str, field: str, env_var: EnvVar) -> str:
    description = env_var.help
    between = bounds(field)
    if between is not None:
        description += f" From {between[0]:,} to {between[1]:,}."
    if env_var.is_secret:
        description += " Secret: never printed."
    readers = ", ".join(reader if " " in reader else f"`{reader}`" for reader in env_var.read_by)
    return _row(f"`{name}`", env_var.default or _default(field), description, readers)


def _default(field: str) -> str:
    value = next(each.default for each in dataclasses.fields(Settings) if each.name == field)
    if isinstance(value, time):
        value = value.isoformat("minutes")
    return "none" if value in (None, "") else f"`{value}`"


def cli_reference() -> str:
    """The page of all commands: usage, help, arguments and options of each, in the order of `mailmart --help`."""
    # by its entry point: tools do not import the command line above them
    (script,) = entry_points(group="console_scripts", name="mailmart")
    root: click.Group = script.load()
    context = click.Context(root, info_name="mailmart")
    return "\n".join([COMMANDS_INTRODUCTION, *_commands(root, context)])


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inside = click.Context(command, info_name=name, parent=context)
        yield from _command(command, inside)
        if isinstance(command, click.Group):
            yield from _commands(command, inside)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"{'#' * _depth(context)} {context.command_path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{context.command_path} {usage}\n```\n"
    yield from (f"{' '.join(paragraph.split())}\n" for paragraph in (command.help or "").split("\n\n"))
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden]
    if options:
        yield "| Option | Default | Description |\n|---|---|---|"
        yield from (_option_row(option, context) for option in options)
        yield ""


def _option_row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if not option.is_flag:
        names += f" {_values(option, context)}"
    help_text = option.help or ""
    if option.required:
        help_text += " Required."
    if option.multiple and "repeat" not in help_text:
        help_text += " Can be repeated."
    return _row(names, _option_default(option), help_text.strip())


def _values(option: click.Option, context: click.Context) -> str:
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    if isinstance(option.type, click.DateTime):
        return "`DATE`"
    if isinstance(option.type, click.IntRange | click.FloatRange) or option.type is click.INT:
        return "`NUMBER`"
    return f"`{option.make_metavar(context)}`"


def _option_default(option: click.Option) -> str:
    # what the help shows: other defaults depend on the machine
    if option.is_flag or not option.show_default:
        return ""
    value: Any = option.default
    return ", ".join(f"`{each}`" for each in value) if isinstance(value, tuple | list) else f"`{value}`"


def _depth(context: click.Context) -> int:
    return len(context.command_path.split())


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
