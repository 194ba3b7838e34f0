"""The numbers of the seeded mail, counted from the raw events with SQL of its own: nothing of the models is read."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from api.db.connection import connect
from api.settings import Settings

MESSAGES = """
    create table raw.oracle_messages as
    with events as (
        select distinct on (event_id) *
        from raw.email_events
        where workspace_id = 'ws_demo_1' and event_type <> 'rendered'
        order by event_id
    )

    select
        message_id,
        max(campaign_id) as campaign_id,
        max(mailbox_id) as mailbox_id,
        max(domain_id) as domain_id,
        max(recipient_domain) as recipient_domain,
        max(step) as step,
        max(variant) as variant,
        min(occurred_at) filter (where event_type = 'sent') as sent_at,
        (min(occurred_at) filter (where event_type = 'sent') at time zone 'UTC')::date as sent_on,
        bool_or(event_type = 'delivered') as delivered,
        bool_or(event_type = 'bounced') as bounced,
        bool_or(event_type in ('opened', 'clicked')) as opened,
        bool_or(event_type in ('opened', 'clicked') and is_machine is not true) as human_opened,
        bool_or(event_type = 'clicked') as clicked,
        bool_or(event_type = 'clicked' and is_machine is not true) as human_clicked,
        bool_or(event_type = 'replied') as replied,
        bool_or(event_type = 'complained') as complained,
        bool_or(event_type = 'unsubscribed') as unsubscribed
    from events
    group by message_id
    having bool_or(event_type = 'sent')
"""


class Oracle:
    """Counts and rates of the seeded messages of a window that ends today (UTC)."""

    def __init__(self, settings: Settings, today: date) -> None:
        self._settings = settings
        self.today = today

    def prepare(self) -> None:
        with connect(self._settings, "mailmart_owner") as connection:
            connection.execute(MESSAGES.encode())

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with connect(self._settings, "mailmart_owner") as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(statement.encode()).fetchall()

    def count(self, what: str = "true", *, days: int = 30, among: str = "true") -> int:
        """The number of messages sent in the last days for which `what` is true."""
        first = self.today - timedelta(days=days)
        [(value,)] = self.rows(
            f"""
            select count(*) from raw.oracle_messages
            where ({what}) and ({among}) and sent_on between '{first}' and '{self.today}'
            """
        )
        return int(value)

    def rate(self, part: str, whole: str = "delivered", *, days: int = 30, among: str = "true") -> float:
        """In per cent, with two decimals, half away from zero."""
        first = self.today - timedelta(days=days)
        [(value,)] = self.rows(
            f"""
            select round(100.0 * count(*) filter (where ({part}) and ({whole})) / count(*) filter (where {whole}), 2)
            from raw.oracle_messages where ({among}) and sent_on between '{first}' and '{self.today}'
            """
        )
        return float(value)

    def difference(self, part: str, one: str, other: str, *, days: int) -> float:
        """How many points the rate among delivered mail of one campaign is above that of another one."""
        first = self.today - timedelta(days=days)
        rates = dict(
            self.rows(
                f"""
                select campaign_id, 100.0 * count(*) filter (where {part}) / count(*)
                from raw.oracle_messages
                where delivered and campaign_id in ('{one}', '{other}') and sent_on between '{first}' and '{self.today}'
                group by 1
                """
            )
        )
        return float(round(rates[one] - rates[other], 2))

    def best(
        self, column: str, part: str, whole: str = "delivered", *, days: int = 30, among: str = "true", order: str = "desc"
    ) -> str:
        """The value of a column with the highest (or lowest) rate."""
        first = self.today - timedelta(days=days)
        [(value, *_), *_] = self.rows(
            f"""
            select {column}, count(*) filter (where ({part}) and ({whole}))::numeric / count(*) filter (where {whole}) as rate
            from raw.oracle_messages
            where ({among}) and {column} is not null and sent_on between '{first}' and '{self.today}'
            group by 1 having count(*) filter (where {whole}) > 0 order by rate {order}, 1
            """
        )
        return str(value)
