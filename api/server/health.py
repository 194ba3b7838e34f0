"""Health checks: whether the process is alive, and whether it is ready to answer."""

from __future__ import annotations

from flask import Blueprint, Response

from api.contract.publication import PublicationCache
from api.web.responses import status_response


def health_blueprint(publications: PublicationCache) -> Blueprint:
    """/healthz and /readyz, without authentication; they reveal no tenant's data."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def alive() -> Response:
        return status_response({"status": "alive"})

    @blueprint.get("/readyz")
    def ready() -> Response:
        publication = publications.require()
        return status_response({"status": "ready", "batch_id": publication.batch_id, "data_as_of": publication.data_as_of})

    return blueprint
