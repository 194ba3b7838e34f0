"""How long raw rows, events and messages are kept, from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from api.settings import Settings

DEFAULT_PAYLOAD_DAYS = 30
RAW_PAYLOADS = ("webhook_payloads", "rejected_payloads")
RAW_EVENTS = ("email_events",)


@dataclass(frozen=True)
class RetentionPolicy:
    """For how many days each kind of row is kept; None: for ever. Raw rows are not kept for longer than
    events, nor events than messages."""

    payload_days: int | None
    raw_event_days: int | None
    event_days: int | None
    message_days: int | None

    @classmethod
    def of(cls, settings: Settings) -> RetentionPolicy:
        """The policy of the settings."""
        events = settings.retain_events or None
        payloads = settings.retain_payloads
        if payloads is None:
            payloads = min(DEFAULT_PAYLOAD_DAYS, events or DEFAULT_PAYLOAD_DAYS)
        raw_events = events if settings.retain_raw_events is None else settings.retain_raw_events
        return cls(payloads or None, raw_events or None, events, settings.retain_messages or None)

    def raw_logs(self) -> dict[str, int]:
        """Days by table of schema raw, of those that are not kept for ever."""
        days = {**dict.fromkeys(RAW_PAYLOADS, self.payload_days), **dict.fromkeys(RAW_EVENTS, self.raw_event_days)}
        return {table: number for table, number in days.items() if number}

    def core_tables(self) -> dict[str, int]:
        """Days by table of core, in the order in which they are removed: a message is removed after its events."""
        days = {
            "fct_email_events": self.event_days,
            "fct_rejected_events": self.event_days,
            "fct_messages": self.message_days,
        }
        return {table: number for table, number in days.items() if number}
