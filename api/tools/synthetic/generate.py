"""Generates events with SQL statements, each for a part of the messages, two at a time."""

from __future__ import annotations

import importlib.resources
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from api.db.connection import connect
from api.errors import MailmartError
from api.ingest.loader import load
from api.ingest.reader import Document
from api.settings import Settings
from api.tools.synthetic import distributions as like
from api.tools.synthetic.patterns import bounds, flat, patterned
from api.tools.synthetic.provider_bodies import provider_bodies

BATCH_MESSAGES = 25_000
CONNECTIONS = 2
# seed * 1000 + purpose must be a bigint
MAX_SEED = 2**31 - 1

# a pseudo-random number from 0 to 1, from seed, number and purpose; PostgreSQL's hash of a bigint is the fastest
CHANCE = """
    create function pg_temp.chance(number bigint, purpose int) returns float8
    language sql immutable parallel safe
    return (hashint8extended(number, {seed}::bigint * 1000 + purpose) & 1073741823)::float8 / 1073741824.0
"""


@dataclass(frozen=True)
class GenerateOptions:
    """How much to generate: totals of all workspaces. `until` is the last of the `days` in UTC; None: today.

    With `is_flat`, the patterns of patterns.py are left out: all campaigns, hours, recipients and mailboxes are alike.
    """

    workspaces: int = 3
    campaigns: int = 15
    messages: int = 200_000
    days: int = 120
    seed: int = 1
    until: date | None = None
    is_flat: bool = False


def generate(settings: Settings, options: GenerateOptions, progress: Callable[[int], None] = lambda messages: None) -> int:
    """Loads the rows of the app's tables and the events. Returns the number of events; `progress` gets the messages so far.

    Without `is_flat`, a few webhook bodies of each provider are loaded, too.

    The same options generate the same rows with the same ids, so loading is idempotent. Events in the future are left out: a
    later call with the same `until` can load more. `loaded_at` is the real time.

    Raises:
        MailmartError: an option is out of range.
    """
    for name in ("workspaces", "campaigns", "messages", "days"):
        if getattr(options, name) < 1:
            raise MailmartError(f"{name} is {getattr(options, name)}", hint="Use at least 1.")
    if options.campaigns < options.workspaces:
        raise MailmartError(
            f"{options.campaigns} campaigns are not enough for {options.workspaces} workspaces",
            hint="Each workspace needs at least one campaign.",
        )
    if not 0 <= options.seed <= MAX_SEED:
        raise MailmartError(f"seed is {options.seed}", hint=f"Use a number from 0 to {MAX_SEED}.")
    parameters = _parameters(options)
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(_statement("tables.sql"), parameters)
    parts = [
        {"first": first, "last": min(first + BATCH_MESSAGES, options.messages) - 1}
        for first in range(0, options.messages, BATCH_MESSAGES)
    ]
    messages_done = 0
    lock = threading.Lock()
    idle = [_connection(settings, options.seed) for _ in range(min(CONNECTIONS, len(parts)))]

    def load(part: dict[str, int]) -> int:
        nonlocal messages_done
        with lock:
            connection = idle.pop()
        try:
            with connection.transaction():
                loaded = connection.execute(_statement("events.sql"), {**parameters, **part}).rowcount
        finally:
            with lock:
                idle.append(connection)
        with lock:
            messages_done += part["last"] - part["first"] + 1
            progress(messages_done)
        return loaded

    try:
        with ThreadPoolExecutor(len(idle)) as pool:
            events = sum(pool.map(load, parts))
    finally:
        for connection in idle:
            connection.close()
    if not options.is_flat:
        _load_provider_bodies(settings, options)
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("analyze raw.email_events")
    return events


def _load_provider_bodies(settings: Settings, options: GenerateOptions) -> None:
    """A few messages of the first campaign, as the webhooks of each provider report them."""
    fields = {"campaign_id": "cmp_demo_1", "mailbox_id": "mbx_demo_1_1_1", "domain_id": "dom_demo_1_1"}
    until = options.until or datetime.now(UTC).date()
    for provider, bodies in provider_bodies(options.seed, options.days, until, fields):
        documents = [Document(line, body) for line, body in enumerate(bodies, 1)]
        result = load(settings, provider, "ws_demo_1", documents, lambda rejected: None, source="synthetic")
        if result.rejected:
            raise MailmartError(f"{result.rejected} synthetic bodies of {provider} were rejected: {result.problems}")


def _connection(settings: Settings, seed: int) -> psycopg.Connection:
    connection = connect(settings, "mailmart_owner")
    connection.execute(CHANCE.format(seed=int(seed)).encode())
    # after a crash of the machine, the events can be generated again
    connection.execute("set synchronous_commit = off")
    connection.execute("set jit = off")
    connection.commit()
    connection.prepare_threshold = None
    return connection


def _parameters(options: GenerateOptions) -> dict[str, Any]:
    until = options.until or datetime.now(UTC).date()
    days = [until - timedelta(days=options.days - 1 - number) for number in range(options.days)]
    pattern = flat(options.campaigns) if options.is_flat else patterned(options.campaigns, until)
    return {
        **pattern,
        "workspaces": options.workspaces,
        "campaigns": options.campaigns,
        "seed": options.seed,
        "until": until,
        "days": options.days - 1,
        "campaign_bounds": bounds([_campaign_weight(rank) for rank in range(options.campaigns)]),
        "day_bounds": bounds([like.WEEKDAYS[day.weekday()] for day in days]),
        "hour_bounds": bounds(like.HOURS),
        "bounce_bounds": bounds([share for share, *_ in like.BOUNCES]),
        "bounce_statuses": [status for _, status, _, _ in like.BOUNCES],
        "bounce_codes": [code for _, _, code, _ in like.BOUNCES],
        "bounce_texts": [text for *_, text in like.BOUNCES],
        "zones": list(like.ZONES),
        "names": list(like.CAMPAIGN_NAMES),
        "statuses": list(like.CAMPAIGN_STATUSES),
        "domains": like.DOMAINS_PER_WORKSPACE,
        "mailboxes": like.MAILBOXES_PER_DOMAIN,
        "no_campaign": like.NO_CAMPAIGN,
        "no_mailbox": like.NO_MAILBOX,
        "queued": like.QUEUED,
        "rejected": like.REJECTED,
        "bounced": like.BOUNCED,
        "deferred": like.DEFERRED,
        "opened_again": like.OPENED_AGAIN,
        "clicked": like.CLICKED,
        "clicked_unseen": like.CLICKED_UNSEEN,
        "replied": like.REPLIED,
        "autoresponded": like.AUTORESPONDED,
        "complained": like.COMPLAINED,
        "unsubscribed": like.UNSUBSCRIBED,
        "machine_clicks": like.MACHINE_CLICKS,
        "late": like.LATE,
        "duplicated": like.DUPLICATED,
        "unknown_type": like.UNKNOWN_TYPE,
    }


def _campaign_weight(rank: int) -> float:
    status = like.CAMPAIGN_STATUSES[rank % len(like.CAMPAIGN_STATUSES)]
    return 0 if status in like.NOT_STARTED else 1 / (rank + 1) ** like.ZIPF


def _statement(name: str) -> bytes:
    return importlib.resources.files("api.tools.synthetic").joinpath(name).read_bytes()
