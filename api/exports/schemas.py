"""marshmallow schemas of exports: they document, and check answers in tests."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from api.contract.export_types import Catalogue
from api.exports.formats import FORMATS
from api.exports.repository import STATUSES, Export
from api.web.schemas import OpenSchema, data_schema

MAX_PAGE = 100


class ExportProblem(OpenSchema):
    """Why there is no file."""

    code = ma.fields.String(
        required=True,
        metadata={"description": "EXPORT_FAILED.", "x-constant": "EXPORT_FAILED", "example": "EXPORT_FAILED"},
    )
    message = ma.fields.String(
        required=True, metadata={"description": "What went wrong.", "example": "Failed to generate export: insufficient data"}
    )


def export_status_schema(catalogue: Catalogue) -> type[ma.Schema]:
    """The schema of an export, as its status says it."""

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
        "export_id": text("The export's identifier.", "exp_xyz123"),
        "export_type": text("What is exported.", "campaign_performance"),
        "format": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(list(FORMATS)),
            metadata={"description": "The file's format.", "example": "csv", "x-enum-name": "ExportFormat"},
        ),
        "status": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(STATUSES),
            metadata={
                "description": "processing until it is completed, failed or canceled; a completed one is expired once its"
                " file is gone.",
                "example": "completed",
                "x-enum-name": "ExportStatus",
            },
        ),
        "progress": ma.fields.Integer(
            required=True, metadata={"description": "Percent of it that is written; 100 when it is whole.", "example": 100}
        ),
        "estimated_completion": time(
            "When it should be completed, by what earlier exports took; null while there are none to go by.",
            "2025-11-26T10:05:00Z",
        ),
        "row_count": count("Rows in the file, of all its tables.", 31),
        "file_size_bytes": count("The file's size.", 524288),
        "sha256": text(
            "The file's SHA-256, hexadecimal.", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", nullable=True
        ),
        "data_as_of": time("What had landed by then is in the file.", "2025-11-26T02:00:00Z"),
        "created_at": time("When it was asked for.", "2025-11-26T10:00:00Z", nullable=False),
        "completed_at": time("When it ended.", "2025-11-26T10:03:00Z"),
        "download_url": text(
            "Where the file is, until `expires_at`; a fresh address at each read.",
            "https://analytics.example.com/downloads/exp_xyz123/campaign_performance-exp_xyz123.csv?expires=1764155010&signature=…",
            nullable=True,
        ),
        "expires_at": time("Until when the address holds.", "2025-11-26T11:03:00Z"),
        "file_expires_at": time("Until when the file is kept.", "2025-12-03T10:03:00Z"),
        "error": ma.fields.Nested(
            ExportProblem, required=True, allow_none=True, metadata={"description": "Why it failed; null where it did not."}
        ),
    }
    return type("Export", (OpenSchema,), {**fields, "Meta": _Unregistered})


class _Unregistered(OpenSchema.Meta):
    # two contracts can be loaded one after the other
    register = False


def answer_schema(status: type[ma.Schema]) -> type[ma.Schema]:
    """The schema of an answer with one export."""
    return data_schema("ExportResponse", ma.fields.Nested(status, required=True))


def list_schema(status: type[ma.Schema]) -> type[ma.Schema]:
    """The schema of an answer with a page of exports."""
    page = type(
        "ExportList",
        (OpenSchema,),
        {
            "exports": ma.fields.List(ma.fields.Nested(status), required=True, metadata={"description": "Newest first."}),
            "next_cursor": ma.fields.String(
                required=True,
                allow_none=True,
                metadata={
                    "description": "Sent as `cursor`, it gives the next page; null on the last one.",
                    "example": "MjAyNS0xMS0yNlQxMDowMDowMFp8ZXhwX3h5ejEyMw",
                },
            ),
            "Meta": _Unregistered,
        },
    )
    return data_schema("ExportListResponse", ma.fields.Nested(page, required=True))


class PageQuery(ma.Schema):
    """Which page of a list."""

    class Meta:
        unknown = ma.RAISE

    limit = ma.fields.Integer(
        load_default=20,
        validate=ma.validate.Range(min=1, max=MAX_PAGE),
        metadata={"description": "How many.", "example": 20},
    )
    cursor = ma.fields.String(metadata={"description": "`next_cursor` of the page before."})


def export_body(export: Export, download: tuple[str, Any] | None) -> dict[str, Any]:
    """An export as its status says it; `download` is its file's address and until when that holds."""
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
