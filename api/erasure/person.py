"""The patterns by which PostgreSQL finds an address in texts, in all spellings that can be found exactly."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable
from typing import Any

from api.erasure.fields import ADDRESS_KEYS, KEPT_KEYS, LIST_KEYS, TEXT_KEYS
from api.errors import MailmartError

MAX_ADDRESS_CHARACTERS = 320
# shorter ones are parts of too many other texts
MIN_ENCODED_CHARACTERS = 8
# a regular expression that matches no text
NOTHING = r"\Zx"
HINT = "Write the address alone: name@domain."
# the address must not be the end of a longer one. A letter before it can belong to an encoded bracket, equals sign or line feed.
_BEFORE = (
    r"(?:(?<![a-z0-9._+-])"
    r"|(?<=%(?:25)?(?:09|0a|0d|20|22|27|28|2c|2f|3a|3b|3c|3d|26|5b|5c|7c))"
    r"|(?<=\\u00(?:09|0a|0d|20|22|27|28|2c|2f|3a|3b|3c|3d|26|5b|7c))"
    r"|(?<=\\[nrtbf]))"
)
_AFTER = r"(?![a-z0-9-]|[.][a-z0-9])"


def person_parameters(
    address: str, domain: str, *, typed: str, workspace: str | None, countable_types: Iterable[str]
) -> dict[str, Any]:
    """The parameter `person` of the functions of migration 0030.

    Args:
        address: the bare address, as app.bare_address returns it.
        domain: its domain.
        typed: the address as it was typed; base64 depends on upper case.
        workspace: the only workspace to erase it from; None for all.
        countable_types: types of export without rows of messages.
    """
    encodings = "|".join(_escape(part) for part in encoded_parts({address, typed})) or NOTHING
    return {
        "address": address,
        "domain": domain,
        # 256 random bits, forgotten when the erasure ends
        "token": secrets.token_hex(32),
        "needle": needle(address),
        "mention": mention_pattern(address),
        "encoded": f"[A-Za-z0-9+/_-]*(?:{encodings})[A-Za-z0-9+/_-]*=*",
        "encodings": encodings,
        "workspace": workspace,
        "address_keys": list(ADDRESS_KEYS),
        "list_keys": list(LIST_KEYS),
        "text_keys": list(TEXT_KEYS),
        "kept_keys": list(KEPT_KEYS),
        "countable_types": list(countable_types),
    }


def check_address(address: str) -> str:
    """The address, if it is one.

    Raises:
        MailmartError: it is not one address.
    """
    stripped = address.strip()
    bracketed = re.search(r"<([^<>]*)>\s*$", stripped)
    bare = bracketed[1].strip() if bracketed else stripped
    if len(bare) > MAX_ADDRESS_CHARACTERS or re.fullmatch(r"[^\s@<>,;]+@[^\s@<>,;]+", bare) is None:
        raise MailmartError("this is not one e-mail address", hint=HINT)
    return bare


def mention_pattern(address: str) -> str:
    """A regular expression of PostgreSQL: the address in upper or lower case.

    A character that is no ASCII letter or digit can be encoded as in a URL (once or twice), JSON, HTML or quoted-printable.
    """
    return _BEFORE + "".join(_character(character) for character in address) + _AFTER


def needle(address: str) -> str:
    """The longest part of the address, before the @ if there is one, whose characters are never encoded."""
    local_part, _, domain = address.rpartition("@")
    return max(re.findall("[a-z0-9]+", local_part) or re.findall("[a-z0-9]+", domain), key=len, default="")


def encoded_parts(spellings: Iterable[str]) -> list[str]:
    """What the base64 of each text with one of the spellings contains, wherever in the text it is."""
    parts: dict[str, None] = {}
    for spelling in sorted(spellings):
        content = spelling.encode()
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + content).decode().rstrip("=")
            first = -(-offset * 8 // 6)
            last = (offset + len(content)) * 8 // 6
            parts[encoded[first:last]] = None
            parts[encoded[first:last].replace("+", "-").replace("/", "_")] = None
    return [part for part in parts if len(part) >= MIN_ENCODED_CHARACTERS]


def _character(character: str) -> str:
    if re.fullmatch("[a-z0-9]", character):
        return character
    # PostgreSQL folds the case of ASCII only if the collation is C
    spellings = [_escape(variant) for variant in dict.fromkeys((character, character.upper()))]
    for variant in dict.fromkeys((character.lower(), character.upper())):
        octets = [f"{octet:02x}" for octet in variant.encode()]
        units = variant.encode("utf-16-be").hex()
        spellings.append("".join(f"%(?:25)?{octet}" for octet in octets))
        spellings.append("".join(f"={octet}" for octet in octets))
        spellings.append("".join(rf"\\+u{units[start : start + 4]}" for start in range(0, len(units), 4)))
        spellings += [f"&#0*{ord(point)};" for point in variant] + [f"&#x0*{ord(point):x};" for point in variant]
    return f"(?:{'|'.join(dict.fromkeys(spellings))})"


def _escape(text: str) -> str:
    # a backslash before a letter or a digit is a class of characters
    return re.sub(r"([^\w\s])", r"\\\1", text)
