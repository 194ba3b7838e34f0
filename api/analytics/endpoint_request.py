"""A request of an endpoint, resolved: what it reads, as of which batch, and the body that its rows become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from api.analytics.cache import entity_tag
from api.analytics.cursors import Cursor, check_position, cursor_after, decode_cursor, published_state, request_hash
from api.analytics.fast_path import BodyOf
from api.contract.exposures import Endpoint
from api.contract.lists import list_settings
from api.contract.page_query import IS_STILL_READABLE, PAGE_AFTER, cut_page, section_statement
from api.contract.parameters import PARAMETERS, PATH_PARAMETERS
from api.contract.publication import Publication, PublishedState
from api.contract.response import assembler
from api.db.prepared_statements import Rows
from api.db.request_context import tenant_settings
from api.errors import CursorExpired, InvalidCursor, NotFound
from api.web.responses import data_body


@dataclass
class EndpointRequest:
    """A request that can be answered.

    Attributes:
        params: its parameters, with defaults.
        path: the parameters of its path.
        today: the UTC date on which it came.
        cursor: of a page after the first one; else None.
        state: what a page after the first one is read as of; for other requests, what was published when it came.
        settings: of its transaction.
        response_fields: what the response repeats of the parameters.
    """

    endpoint: Endpoint
    params: Mapping[str, Any]
    path: Mapping[str, str]
    today: date
    cursor: Cursor | None
    state: PublishedState
    settings: Mapping[str, str]
    response_fields: Mapping[str, Any]

    def statements(self, texts: Sequence[str], publication: Publication) -> list[str]:
        """The statements to run. `texts` has that of each section whose text does not depend on the request, else ''."""
        after = self.cursor.position if self.cursor else None
        statements = [
            text or section_statement(section, self.params, after)
            for section, text in zip(self.endpoint.sections, texts, strict=True)
            if section.is_shown(self.params)
        ]
        if self.state.batch_id != publication.batch_id:
            statements.append(IS_STILL_READABLE)
        return statements

    def tag_of(self, publication: Publication, settings: Mapping[str, str]) -> str:
        """The ETag of the response as of a publication; '' if it is never cached."""
        if not self.endpoint.is_cached:
            return ""
        return entity_tag(publication, self.endpoint.name, settings, self.response_fields)

    def body_of(self) -> BodyOf:
        """The function that makes the body of the statements' rows, also of a later publication.

        It raises NotFound if a section names what does not exist or must not be empty, and CursorExpired if the batch of the
        cursor was removed in the meantime.
        """
        assemble = assembler(self.endpoint.sections, self.response_fields, self.params)

        def body_of(results: Sequence[Rows], publication: Publication) -> bytes:
            state = self.state if self.cursor else publication.readable[0]
            rows_by_section = _rows_by_section(self.endpoint, self.params, results)
            _check_found(self.endpoint, self.params, rows_by_section, self.path)
            pages = self._cut_pages(rows_by_section, publication, state)
            return data_body({**assemble(rows_by_section), **pages}, state.data_as_of)

        return body_of

    def _cut_pages(self, rows_by_section: list[Rows], publication: Publication, state: PublishedState) -> dict[str, str | None]:
        """Leaves the rows of the page in the list that has pages, and returns the cursor of the next one."""
        pages: dict[str, str | None] = {}
        for number, section in enumerate(self.endpoint.sections):
            if section.page is None:
                continue
            rows_by_section[number], last = cut_page(rows_by_section[number], self.params["limit"])
            day = self.cursor.day if self.cursor else self.today
            pages["next_cursor"] = (
                None if last is None else cursor_after(last, self.endpoint, self.settings, publication, state, day).encode()
            )
        return pages


def resolve_request(
    endpoint: Endpoint,
    params: Mapping[str, Any],
    path: Mapping[str, str],
    publication: Publication,
    workspace_id: str,
    today: date,
) -> EndpointRequest:
    """
    Raises:
        ValidationFailed, InvalidTimeRange: the parameters contradict each other.
        NotFound: an id of the path cannot exist.
        InvalidCursor, CursorExpired: of the cursor.
    """
    cursor = decode_cursor(params["cursor"]) if endpoint.page is not None and "cursor" in params else None
    # the pages of a list are of one batch and one window, also after midnight
    state = publication.readable[0] if cursor is None else published_state(cursor, publication)
    settings, response_fields = resolve_settings(endpoint, params, path, today if cursor is None else cursor.day)
    settings |= tenant_settings(workspace_id, state.batch_id)
    if endpoint.page is not None and cursor is not None:
        if request_hash(endpoint, settings) != cursor.request:
            raise InvalidCursor("Is of another request: except for limit, send the parameters of the first page.")
        check_position(cursor.position, endpoint.page.sort[params["sort"]].data_type)
        settings[PAGE_AFTER] = cursor.position.setting()
    return EndpointRequest(endpoint, params, path, today, cursor, state, settings, response_fields)


def resolve_settings(
    endpoint: Endpoint, params: Mapping[str, Any], path: Mapping[str, str], today: date
) -> tuple[dict[str, str], dict[str, Any]]:
    """The settings of a request (without workspace and batch), and the fields that its response repeats.

    Raises:
        ValidationFailed, InvalidTimeRange: the parameters contradict each other.
        NotFound: an id of the path cannot exist.
    """
    settings: dict[str, str] = {}
    response_fields: dict[str, Any] = {}
    for name in endpoint.parameters:
        resolved = PARAMETERS[name].resolve(params, today)
        settings |= resolved.settings
        response_fields |= resolved.response_fields
    if endpoint.page is not None:
        settings |= list_settings(endpoint.page, params)
    for name in endpoint.path_parameters:
        # PostgreSQL cannot store a NUL, so no id has one
        if "\0" in path[name] or not path[name]:
            raise _not_found(endpoint, path)
        settings[PATH_PARAMETERS[name].setting] = path[name]
    return settings, response_fields


def _rows_by_section(endpoint: Endpoint, params: Mapping[str, Any], results: Sequence[Rows]) -> list[Rows]:
    """The rows of each section; none of a section that this response does not have.

    Raises:
        CursorExpired: the batch of the cursor was removed in the meantime.
    """
    left = iter(results)
    rows_by_section = [next(left) if section.is_shown(params) else [] for section in endpoint.sections]
    if not all(left):
        raise CursorExpired
    return rows_by_section


def _check_found(endpoint: Endpoint, params: Mapping[str, Any], rows_by_section: Sequence[Rows], path: Mapping[str, str]) -> None:
    """
    Raises:
        NotFound: a section names what does not exist, or must not be empty.
    """
    for section, rows in zip(endpoint.sections, rows_by_section, strict=True):
        if section.not_found_error and rows:
            raise NotFound(section.not_found_error, id=rows[0][0], workspace=path["workspaceId"])
        if section.on_empty and not rows and section.is_shown(params):
            raise _not_found(endpoint, path)


def _not_found(endpoint: Endpoint, path: Mapping[str, str]) -> NotFound:
    code = next((section.on_empty for section in endpoint.sections if section.on_empty), "NOT_FOUND")
    first_id = next((path[name] for name in endpoint.path_parameters), "")
    return NotFound(code, id=first_id, workspace=path["workspaceId"])
