"""The link with which a recipient opts out of report mail, without a login.

It names the workspace and the keyed hash of the address. The database signs it and checks it (app.opt_out_signature), because
only its owner can read the secret. It does not expire: a mail can be read years later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

PATH = "/reports/opt-out"
HEX_256 = re.compile(r"[0-9a-f]{64}")
MAX_WORKSPACE_LENGTH = 1000


@dataclass(frozen=True)
class OptOutLink:
    """The parts of a link."""

    workspace_id: str
    recipient_hash: str
    signature: str


def opt_out_url(public_url: str, workspace_id: str, recipient_hash: str, signature: str) -> str:
    """The link of one person and one workspace."""
    return f"{public_url}{PATH}?" + urlencode({"workspace": workspace_id, "recipient": recipient_hash, "signature": signature})


def parse_opt_out(query: Mapping[str, str]) -> OptOutLink | None:
    """The parts of a link; None if it is malformed, which needs no query of the database."""
    workspace_id, recipient_hash, signature = (query.get(name, "") for name in ("workspace", "recipient", "signature"))
    is_well_formed = HEX_256.fullmatch(recipient_hash) and HEX_256.fullmatch(signature)
    if not is_well_formed or not 0 < len(workspace_id) <= MAX_WORKSPACE_LENGTH or "\0" in workspace_id:
        return None
    return OptOutLink(workspace_id, recipient_hash, signature)
