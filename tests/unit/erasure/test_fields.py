"""Every member of a body that a staging view reads is in a list of api/erasure/fields.py, so that an erasure changes no count."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.erasure.fields import ADDRESS_KEYS, KEPT_KEYS, LIST_KEYS, REMOVED_KEYS, TEXT_KEYS
from api.settings import PROJECT_ROOT

# objects and arrays, which are always kept
CONTAINERS = {
    "Message",
    "Metadata",
    "bounce",
    "bouncedRecipients",
    "click",
    "client-info",
    "complainedRecipients",
    "custom_args",
    "custom_variables",
    "data",
    "delayedRecipients",
    "delivery-status",
    "deliveryDelay",
    "event-data",
    "failed",
    "failure",
    "flags",
    "headers",
    "items",
    "mail",
    "message",
    "meta",
    "metadata",
    "morph",
    "msg",
    "msys",
    "newTopicPreferences",
    "oldTopicPreferences",
    "open",
    "original_message",
    "payload",
    "rcpt_meta",
    "reject",
    "sg_message",
    "smtp_events",
    "suppressed",
    "tags",
    "topicSubscriptionStatus",
    "unique_args",
    "user-variables",
    "user_agent_parsed",
}
VIEWS = sorted((PROJECT_ROOT / "models" / "staging").glob("stg_*_events.sql"))


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.stem)
def test_each_member_is_in_a_list(path: Path) -> None:
    text = re.sub(r"^\s*--.*$", "", path.read_text(), flags=re.MULTILINE)
    names = set(re.findall(r"->>?\s*'([^'{]+)'", text))
    for nested in re.findall(r"#>>?\s*'\{([^}']*)\}'", text):
        names |= set(nested.split(","))
    for nested in re.findall(r"'(?:strict |lax )?\$([^']*)'", text):
        names |= set(re.findall(r"\.([A-Za-z_][A-Za-z0-9_-]*)", nested)) - {"type"}
    known = {*ADDRESS_KEYS, *KEPT_KEYS, *LIST_KEYS, *REMOVED_KEYS, *TEXT_KEYS, *CONTAINERS}
    unknown = {name for name in names if name and not name.lstrip("-").isdigit()} - known
    assert not unknown, f"{sorted(unknown)}: say in api/erasure/fields.py what an erasure does with these members"


def test_a_member_is_kept_or_removed() -> None:
    assert not set(KEPT_KEYS) & {*ADDRESS_KEYS, *REMOVED_KEYS, *TEXT_KEYS}
    for keys in (ADDRESS_KEYS, KEPT_KEYS, LIST_KEYS, REMOVED_KEYS, TEXT_KEYS):
        assert len(set(keys)) == len(keys)


def test_each_member_by_which_an_event_is_recognized_is_kept() -> None:
    """Without it, the rest of an erased body would be no event any more, and its message would vanish from the counts."""
    text = (PROJECT_ROOT / "macros" / "parsing" / "webhook_formats.sql").read_text()
    paths = re.findall(r"'event': (.*?)'others'", text, re.DOTALL)
    members = re.findall(r'(?<!\[)\.(?:"([\w@-]+)"|([A-Za-z_]\w*))', " ".join(paths))
    known = {*ADDRESS_KEYS, *KEPT_KEYS, *LIST_KEYS, *REMOVED_KEYS, *TEXT_KEYS, *CONTAINERS}
    assert len(paths) > 1
    assert {quoted or plain for quoted, plain in members} - {"type"} <= known
