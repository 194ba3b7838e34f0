"""All typed exceptions of mailmart."""

from __future__ import annotations


class MailmartError(Exception):
    """Something that a person can mend: one line of what is wrong, and one of what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(MailmartError):
    """A setting of the environment that cannot be used."""


class ServerError(MailmartError):
    """An embedded server that does not start, stop or answer."""
