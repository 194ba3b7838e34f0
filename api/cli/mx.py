"""mailmart mx"""

from __future__ import annotations

import ipaddress
from collections import Counter
from itertools import islice

import click

from api.db.connection import connect
from api.errors import MailmartError
from api.plurals import counted
from api.recipients.repository import domains_to_resolve, is_built, remove_unused, store
from api.recipients.resolver import is_domain, resolve_all
from api.settings import Settings

# stored together: an interruption loses no more
BATCH = 200


@click.command()
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="Maximum number of domains.")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Look up a domain again after this many days."
)
@click.option("--nameserver", "nameservers", multiple=True, help="IP address to ask, repeatable. Default: those of this machine.")
@click.option("--port", type=click.IntRange(1, 65535), default=53, show_default=True, help="Port of the nameservers.")
@click.option(
    "--max-seconds", type=click.IntRange(1, 86_400), default=600, show_default=True, help="Start no lookup after this time."
)
def command(limit: int, days: int, nameservers: tuple[str, ...], port: int, max_seconds: int) -> None:
    """Look up the MX records of recipient domains that are in no list, those with the most mail first.

    The next build finds their mailbox provider by the seed mailbox_provider_mx. The nameserver gets the domains of messages, and
    nothing else of them. Run it before the nightly build, for example from cron; nothing runs it by itself.
    """
    settings = Settings.from_environment()
    for nameserver in nameservers:
        _check_address(nameserver)
    schema = settings.schema("core")
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        if not is_built(connection, schema):
            raise MailmartError("no message has a mailbox provider yet", hint="Run `mailmart build` first.")
        domains = [domain for domain in domains_to_resolve(connection, schema, limit, days) if is_domain(domain)]
        records = resolve_all(domains, nameservers, port=port, max_seconds=max_seconds)
        statuses: Counter[str] = Counter()
        while batch := list(islice(records, BATCH)):
            store(connection, batch)
            statuses.update(record.status for record in batch)
        removed = remove_unused(connection, schema, days)
    numbers = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "nothing to look up"
    click.echo(f"{counted(sum(statuses.values()), 'domain')} looked up: {numbers}")
    if len(domains) > sum(statuses.values()):
        left = counted(len(domains) - sum(statuses.values()), "domain")
        click.echo(f"{left} not looked up within {max_seconds} s: run the command again")
    if removed:
        click.echo(f"{counted(removed, 'domain')} without messages removed")


def _check_address(nameserver: str) -> None:
    try:
        ipaddress.ip_address(nameserver)
    except ValueError:
        raise MailmartError(
            f"--nameserver {nameserver!r} is not an IP address", hint="Use an address such as 127.0.0.1 or 2001:db8::53."
        ) from None
