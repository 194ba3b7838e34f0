"""mailmart mcp"""

from __future__ import annotations

import click

from api.errors import SettingsError
from api.settings import Settings


@click.command()
@click.option("--url", help="Address of the API. Default: MAILMART_PUBLIC_URL, or the API server of this machine.")
def command(url: str | None) -> None:
    """Serve the tools for agents on standard input and output (Model Context Protocol), with the API key in MAILMART_API_KEY.

    The API server has the same tools at /mcp, for agents that connect over HTTP.
    """
    settings = Settings.from_environment()
    if settings.api_key is None:
        raise SettingsError(
            "MAILMART_API_KEY is not set", hint="Create a key with `mailmart keys create`, and set the variable to the key."
        )
    from api.mcp.stdio import serve_stdio

    serve_stdio(url or settings.public_url, settings.api_key)
