"""Hints for an unknown name: in an analyst's YAML, or in a request."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar, whatever the case and the separators: timeRange for time_range and timerange."""
    by_key: dict[str, str] = {}
    for known_name in sorted(known):
        if known_name.lower() == name.lower():
            return known_name
        by_key.setdefault(_key(known_name), known_name)
    matches = get_close_matches(_key(name), by_key, n=1)
    return by_key[matches[0]] if matches else None


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint such as "Did you mean groupBy? Known: campaignId, groupBy."; without a similar name, only the known ones."""
    names = sorted(known)
    match = nearest(name, names)
    question = f"Did you mean {match}? " if match else ""
    return f"{question}Known: {', '.join(names) or 'none'}."


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
