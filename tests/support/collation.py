"""The collation of the tests' databases: not C, in which byte order hides a forgotten `collate "C"`."""

from __future__ import annotations

import locale

NAME = "en_US.UTF-8"


def collation() -> str | None:
    """A collation of the system that orders as words are ordered, or None: Debian has it if the package locales made it."""
    before = locale.setlocale(locale.LC_COLLATE)
    try:
        locale.setlocale(locale.LC_COLLATE, NAME)
    except locale.Error:
        return None
    locale.setlocale(locale.LC_COLLATE, before)
    return NAME
