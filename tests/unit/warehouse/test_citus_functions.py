"""The variants of functions for Citus are of the functions as they are now."""

from __future__ import annotations

import hashlib
import re

from api.db.citus import FUNCTIONS
from api.db.migrate import MIGRATIONS

FUNCTION = re.compile(r"^create (?:or replace )?function app\.(\w+)\(.*?^\$\$;", re.DOTALL | re.MULTILINE)
# What a variant is of: the first characters of the hash of the newest original. If one of them changes, change the variant in
# api/db/citus_functions.sql alike, and then the hash here.
ORIGINALS = {
    "assign_events_under_alias": "5eac44ef221b",
    "erase_links_of_recipient": "5b3249733b38",
    "erase_recipient_from_messages": "f2bf2cbb577b",
    # in the order of keys, by a function with another name
    "close_messages": "fc0e4f0ee0fc",
    "remove_messages": "699db17bca6c",
    "remove_rejected_events": "5e7042408442",
}
# does nothing on one server, which is the whole of the original
WITHOUT_A_TEXT = {"propagate_ddl"}
# migration 0066 gave it the other name
FORMER_NAMES = {"erase_recipient_from_messages": "erase_recipient_from_core"}


def _originals() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(MIGRATIONS.glob("*.sql")):
        for match in FUNCTION.finditer(path.read_text()):
            found.setdefault(match[1], []).append(match[0].replace("create or replace", "create"))
    return found


def test_no_original_has_changed_since_its_variant_was_written() -> None:
    originals = _originals()
    found = {}
    for name in ORIGINALS:
        # the first one of the former name: a later one calls it
        texts = originals[FORMER_NAMES[name]][:1] if name in FORMER_NAMES else originals[name]
        found[name] = hashlib.sha256(texts[-1].encode()).hexdigest()[:12]
    assert found == ORIGINALS


def test_each_function_that_is_replaced_is_compared() -> None:
    variants = {match[1] for match in FUNCTION.finditer(FUNCTIONS.read_text())}
    assert variants & _originals().keys() - WITHOUT_A_TEXT <= ORIGINALS.keys()
    replaced = {name for name in ORIGINALS if not name.startswith(("close_", "remove_"))}
    assert replaced <= variants
