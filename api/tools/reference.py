"""Temporary: replaced by the generator of helper cli."""

from __future__ import annotations

import re

import click

from api.cli import COMMANDS, main
from api.settings import Settings


def settings_reference() -> str:
    """Markdown table of the settings."""
    text = re.sub(r"\n\s{12,}", " ", Settings.__doc__ or "")
    rows = re.findall(r"^ {8}(\w+): (MAILMART_[^.\n]*.*)$", text, re.MULTILINE)
    return "\n".join(["| setting | |", "|---|---|", *(f"| `{row[1].split(',')[0]}` | {row[1]} |" for row in rows)])


def cli_reference() -> str:
    """Markdown of the commands."""
    context = click.Context(main, info_name="mailmart")
    parts = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None  # noqa: S101
        parts.append(f"## mailmart {name}\n\n```text\n{command.get_help(click.Context(command, info_name=f'mailmart {name}'))}\n```\n")
    return "\n".join(parts)
