"""The rules that classify bounces, as an analyst edits them."""

from __future__ import annotations

import re

from tests.integration.warehouse.seeds import seed

# PostgreSQL caches 32 compiled regular expressions, and compiles each again for each bounce if there are more
MAX_RULES_WITH_PHRASES = 30


def test_rows_of_a_rule_have_the_same_conditions() -> None:
    conditions: dict[str, set[tuple[str, ...]]] = {}
    for row in seed("bounce_patterns"):
        columns = ("smtp_status", "smtp_code", "bounce_type", "bounce_reason")
        conditions.setdefault(row["priority"], set()).add(tuple(row[column] for column in columns))
    assert [priority for priority, several in conditions.items() if len(several) > 1] == []


def test_rules_with_phrases_fit_into_the_cache() -> None:
    assert len({row["priority"] for row in seed("bounce_patterns") if row["phrase"]}) <= MAX_RULES_WITH_PHRASES


def test_phrases_are_in_the_language() -> None:
    terms = {row["term"] for row in seed("bounce_terms")}
    for row in seed("bounce_patterns"):
        phrase = row["phrase"]
        assert set(re.findall(r"{(.*?)}", phrase)) <= terms, phrase
        # a text has no upper case and no punctuation
        assert not re.search(r"[A-Z,;:<>@%]|\\", re.sub(r"\(\?:", "(", phrase)), phrase
        re.compile(re.sub(r"{.*?}", "x", phrase))


def test_no_phrase_is_listed_twice() -> None:
    phrases = [(row["priority"], row["phrase"]) for row in seed("bounce_patterns")]
    assert len(phrases) == len(set(phrases))
