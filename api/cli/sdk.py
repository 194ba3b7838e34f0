"""mailmart sdk"""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.progress import step
from api.settings import PROJECT_ROOT
from api.tools.sdk.generators import GENERATORS, generate
from api.tools.sdk.programs import require


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=PROJECT_ROOT / "build" / "sdk",
    help="Folder with a subfolder for each SDK. Existing subfolders are replaced. Default: build/sdk.",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(GENERATORS)))
def command(output: Path, names: tuple[str, ...]) -> None:
    """Generate SDKs from openapi.json: all of them, or those named (python, openapi-python-client, typescript-fetch,
    openapi-typescript).
    """
    chosen = names or tuple(GENERATORS)
    require(program for name in chosen for program in GENERATORS[name].programs)
    for name in chosen:
        with step(name) as done:
            generate(name, PROJECT_ROOT / "openapi.json", output / name)
            done("written")
