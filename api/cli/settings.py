"""mailmart settings"""

from __future__ import annotations

import click

from api.tools.reference import settings_reference


@click.command()
def command() -> None:
    """Print all settings, with their defaults and descriptions, as Markdown."""
    click.echo(settings_reference(), nl=False)
