"""mailmart openapi"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

from api.dbt.manifest import parse_manifest
from api.server.app import api_document
from api.settings import PROJECT_ROOT, Settings
from api.web.openapi import document_text


@click.command()
@click.option("--check", is_flag=True, help="Write nothing. Fail and show the difference if the file is out of date.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default=PROJECT_ROOT / "openapi.json",
    help="File to write or check. Default: openapi.json.",
)
def command(check: bool, path: Path) -> None:
    """Write the API's OpenAPI document, generated from the dbt project's exposures and models."""
    settings = Settings.from_environment()
    text = document_text(api_document(settings, parse_manifest(settings))).decode()
    if not check:
        path.write_text(text)
        click.echo(f"wrote {path.name}")
        return
    committed = path.read_text() if path.exists() else ""
    if committed == text:
        click.echo(f"{path.name} is up to date")
        return
    difference = difflib.unified_diff(
        committed.splitlines(),
        text.splitlines(),
        f"{path.name} (committed)",
        f"{path.name} (generated)",
        lineterm="",
        n=2,
    )
    click.echo("\n".join(difference))
    click.echo(f"{path.name} is out of date: run `mailmart openapi` and commit the file", err=True)
    sys.exit(1)
