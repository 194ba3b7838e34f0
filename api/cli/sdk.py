"""mailmart sdk"""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.progress import step
from api.settings import PROJECT_ROOT
from api.tools.sdk.generators import GENERATORS, generate
from api.tools.sdk.programs import need


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=PROJECT_ROOT / "build" / "sdk",
    help="Where to, a folder each; what is there goes. Default: build/sdk.",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(GENERATORS)))
def command(output: Path, names: tuple[str, ...]) -> None:
    """Write SDKs out of openapi.json: all, or those of the generators named (python, openapi-python-client, typescript-fetch,
    openapi-typescript).
    """
    chosen = names or tuple(GENERATORS)
    need(program for name in chosen for program in GENERATORS[name].programs)
    for name in chosen:
        with step(name) as done:
            generate(name, PROJECT_ROOT / "openapi.json", output / name)
            done("written")
