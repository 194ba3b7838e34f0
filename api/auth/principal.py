"""The identity of a credential."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = ("read", "export", "reports", "ingest")


@dataclass(frozen=True)
class Principal:
    """The workspace that an API key or a token belongs to, and its scopes (a subset of SCOPES)."""

    workspace_id: str
    scopes: frozenset[str]
