"""Hints for an unknown name in an analyst's YAML."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint such as "Did you mean groupBy? Known: campaignId, groupBy."; without a similar name, only the known ones."""
    names = sorted(known)
    by_lower_case = {known_name.lower(): known_name for known_name in names}
    matches = get_close_matches(name.lower(), by_lower_case, n=1)
    question = f"Did you mean {by_lower_case[matches[0]]}? " if matches else ""
    return f"{question}Known: {', '.join(names) or 'none'}."
