"""The rules that classify bounces, as an analyst edits them."""

from __future__ import annotations

import re

from tests.integration.warehouse.seeds import seed

# PostgreSQL caches 32 compiled regular expressions, and compiles each again for each bounce if there are more
MAX_RULES_WITH_PHRASES = 31


def is_like(text: str, pattern: str) -> bool:
    """Whether a text meets a LIKE pattern."""
    return re.fullmatch(re.escape(pattern).replace("%", ".*").replace("_", "."), text) is not None


def test_a_provider_can_name_every_reason() -> None:
    """`bounce/<reason>/<word>` has a rule, which comes before those of other providers and of a bounce without a reason."""
    verdicts = [row for row in seed("bounce_patterns") if row["bounce_type"] and not row["smtp_status"] + row["smtp_code"]]
    for reason in (row["bounce_reason"] for row in seed("bounce_reasons")):
        # words that rules of other providers read, and one that none reads
        for verdict in (f"bounce/{reason}/{word}" for word in ("x", "old", "greylisted", "espblock", "Technical")):
            matching = [row for row in verdicts if is_like(verdict, row["bounce_type"])]
            assert min(matching, key=lambda row: int(row["priority"]))["bounce_reason"] == reason, verdict


def test_rows_of_a_rule_have_the_same_conditions() -> None:
    conditions: dict[str, set[tuple[str, ...]]] = {}
    for row in seed("bounce_patterns"):
        columns = ("smtp_status", "smtp_code", "bounce_type", "bounce_reason")
        conditions.setdefault(row["priority"], set()).add(tuple(row[column] for column in columns))
    taken = [priority for priority, several in conditions.items() if len(several) > 1]
    assert taken == [], "two rules have one of these priorities: give the new one a number that no rule has"


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
