"""Who a credential stands for."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = ("read", "export", "reports")


@dataclass(frozen=True)
class Principal:
    """The principal of a key or a token: the workspace, and what may be done there (a subset of SCOPES)."""

    workspace_id: str
    scopes: frozenset[str]
