"""Whether the process lives, and whether it can answer."""

from __future__ import annotations

from flask import Blueprint, Response

from api.contract.publication import Publications
from api.errors import WarehouseUnavailable
from api.web.responses import status_response


def health_blueprint(publications: Publications) -> Blueprint:
    """/healthz and /readyz, for whoever runs the process; no key is asked for, and nothing is told."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def alive() -> Response:
        return status_response({"status": "alive"})

    @blueprint.get("/readyz")
    def ready() -> Response:
        publication = publications.current()
        if publication is None:
            raise WarehouseUnavailable("Nothing is published yet; run `mailmart build`.", retry_after=60)
        return status_response({"status": "ready", "batch_id": publication.batch_id, "data_as_of": publication.data_as_of})

    return blueprint
