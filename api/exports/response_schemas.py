"""marshmallow schemas of export responses: they document the responses, and tests validate against them."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from api.contract.schema_classes import schema_class
from api.exports.formats import FORMATS
from api.exports.repository import STATUSES, Export
from api.web.schemas import OpenSchema, data_schema

# of an export that was just requested: the fields' own examples are those of a completed one
PROCESSING_EXAMPLE: dict[str, Any] = {
    "success": True,
    "data": {
        "export_id": "exp_xyz123",
        "export_type": "campaign_performance",
        "format": "csv",
        "status": "processing",
        "progress": 0,
        "estimated_completion": "2025-11-26T10:05:00Z",
        "row_count": None,
        "file_size_bytes": None,
        "sha256": None,
        "data_as_of": None,
        "created_at": "2025-11-26T10:00:00Z",
        "completed_at": None,
        "download_url": None,
        "expires_at": None,
        "file_expires_at": None,
        "error": None,
    },
}


class ExportProblem(OpenSchema):
    """Why an export failed."""

    code = ma.fields.String(
        required=True,
        metadata={"description": "EXPORT_FAILED.", "x-constant": "EXPORT_FAILED", "example": "EXPORT_FAILED"},
    )
    message = ma.fields.String(
        required=True, metadata={"description": "What failed.", "example": "Failed to generate export: insufficient data"}
    )


def export_status_schema() -> type[ma.Schema]:
    """The schema of an export."""

    def text(description: str, example: Any, **more: Any) -> ma.fields.String:
        nullable = more.pop("nullable", False)
        return ma.fields.String(
            required=True, allow_none=nullable, metadata={"description": description, "example": example, **more}
        )

    def count(description: str, example: int) -> ma.fields.Integer:
        return ma.fields.Integer(required=True, allow_none=True, metadata={"description": description, "example": example})

    def time(description: str, example: str, *, nullable: bool = True) -> ma.fields.DateTime:
        return ma.fields.DateTime(required=True, allow_none=nullable, metadata={"description": description, "example": example})

    fields: dict[str, Any] = {
        "export_id": text("The export's id.", "exp_xyz123"),
        "export_type": text("The exported data.", "campaign_performance"),
        "format": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(list(FORMATS)),
            metadata={"description": "The file format.", "example": "csv", "x-enum-name": "ExportFormat"},
        ),
        "status": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(STATUSES),
            metadata={
                "description": "processing until the export is completed, failed or canceled. A completed export becomes expired"
                " when its file is deleted.",
                "example": "completed",
                "x-enum-name": "ExportStatus",
            },
        ),
        "progress": ma.fields.Integer(
            required=True, metadata={"description": "Percent written; 100 if completed.", "example": 100}
        ),
        "estimated_completion": time(
            "Estimated time of completion, based on earlier exports; null if there are none.", "2025-11-26T10:05:00Z"
        ),
        "row_count": count("Number of rows in the file, over all its tables.", 31),
        "file_size_bytes": count("File size.", 524288),
        "sha256": text(
            "SHA-256 of the file, hexadecimal.",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            nullable=True,
        ),
        "data_as_of": time("The file includes all events loaded up to this time.", "2025-11-26T02:00:00Z"),
        "created_at": time("When the export was requested.", "2025-11-26T10:00:00Z", nullable=False),
        "completed_at": time("When the export ended.", "2025-11-26T10:03:00Z"),
        "download_url": text(
            "Download link, valid until `expires_at`. Each response contains a new one.",
            "https://s3.amazonaws.com/exports/exp_xyz123.csv?expires=3600",
            nullable=True,
        ),
        "expires_at": time("When the download link expires.", "2025-11-26T11:03:00Z"),
        "file_expires_at": time("When the file is deleted.", "2025-12-03T10:03:00Z"),
        "error": ma.fields.Nested(
            ExportProblem, required=True, allow_none=True, metadata={"description": "Why the export failed; otherwise null."}
        ),
    }
    return schema_class("Export", fields, bases=(OpenSchema,), unknown=ma.EXCLUDE)


def export_response_schema(status: type[ma.Schema]) -> type[ma.Schema]:
    """The schema of a response with one export."""
    return data_schema("ExportResponse", ma.fields.Nested(status, required=True))


def page_response_schema(name: str, items_key: str, item: type[ma.Schema], cursor_example: str) -> type[ma.Schema]:
    """The schema of a response with a page of items; `name` is the schema name of the page."""
    page = schema_class(
        name,
        {
            items_key: ma.fields.List(ma.fields.Nested(item), required=True, metadata={"description": "Newest first."}),
            "next_cursor": ma.fields.String(
                required=True,
                allow_none=True,
                metadata={
                    "description": "The `cursor` of the next page; null on the last page.",
                    "example": cursor_example,
                },
            ),
        },
        bases=(OpenSchema,),
        unknown=ma.EXCLUDE,
    )
    return data_schema(f"{name}Response", ma.fields.Nested(page, required=True))


def export_body(export: Export, download: tuple[str, Any] | None) -> dict[str, Any]:
    """An export as responses contain it; `download` is its link and the link's expiry."""
    return {
        "export_id": export.export_id,
        "export_type": export.export_type,
        "format": export.format,
        "status": export.status,
        "progress": export.progress,
        "estimated_completion": export.estimated_completion,
        "row_count": export.row_count,
        "file_size_bytes": export.file_size_bytes,
        "sha256": export.sha256,
        "data_as_of": export.data_as_of,
        "created_at": export.created_at,
        "completed_at": export.completed_at,
        "download_url": download[0] if download else None,
        "expires_at": download[1] if download else None,
        "file_expires_at": export.file_expires_at,
        "error": {"code": "EXPORT_FAILED", "message": export.error} if export.error else None,
    }
