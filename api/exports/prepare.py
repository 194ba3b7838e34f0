"""What a request for an export comes to, and how much there is to write: asked of the marts, before anything is begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from api.contract.export_types import Catalogue
from api.contract.publication import Publication
from api.db.request_context import tenant_settings
from api.errors import NotFound
from api.exports.request_schema import Resolved, resolve

# the rows of each statement, in a request context
Read = Callable[[Mapping[str, str], Sequence[str]], list[list[tuple[Any, ...]]]]


def plan_export(
    read: Read, catalogue: Catalogue, publication: Publication, workspace_id: str, body: Mapping[str, Any], today: date
) -> tuple[Resolved, int]:
    """What a loaded body comes to on a day (UTC), and how much there is to write.

    Raises:
        ValidationFailed: something in it does not go with the type.
        InvalidTimeRange: its dates make no window.
        NotFound: a campaign or a domain is not in the workspace.
    """
    resolved = resolve(body, catalogue, today)
    context = {**resolved.context, **tenant_settings(workspace_id, publication.batch_id)}
    campaigns, domains, sizes = read(
        context,
        [
            f"select campaign_id from {catalogue.unknown_campaigns_view}",  # noqa: S608 - out of our own manifest
            f"select domain_id from {catalogue.unknown_domains_view}",  # noqa: S608
            f"select campaigns, messages from {catalogue.size_view}",  # noqa: S608
        ],
    )
    for code, rows in (("CAMPAIGN_NOT_FOUND", campaigns), ("DOMAIN_NOT_FOUND", domains)):
        if rows:
            raise NotFound(code, id=rows[0][0], workspace=workspace_id)
    (of_campaigns, of_messages) = sizes[0] if sizes else (0, 0)
    kind = catalogue.types[body["export_type"]]
    if kind.is_rows:
        return resolved, of_messages
    is_whole = kind.units == "workspace" or (kind.units == "campaigns_asked_for" and resolved.campaign_ids is None)
    return resolved, 1 if is_whole else of_campaigns
