"""The page of the opt-out link of a report mail.

GET changes nothing, because scanners of links open them: it shows a button. POST opts out, for the button and for mail programs
(RFC 8058). The signed link is the only credential.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from api.db.pool import ConnectionPool
from api.reports.opt_out_link import PATH, OptOutLink, parse_opt_out
from api.web.request_context import current_request_context
from api.web.security_headers import POLICY_HEADER

POLICY = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {POLICY_HEADER: POLICY, "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
# the value of the field `action` that opts in again; any other POST opts out
SUBSCRIBE = "subscribe"


def opt_out_blueprint(pool: ConnectionPool) -> Blueprint:
    """GET and POST /reports/opt-out."""
    blueprint = Blueprint("report_opt_out", __name__)

    @blueprint.get(PATH)
    def ask() -> Response:
        current_request_context().endpoint = "report_opt_out"
        if parse_opt_out(request.args) is None:
            return _invalid_link()
        return _page("Stop report mail?", "You will receive no more reports of this workspace by mail.", "Stop report mail", "")

    @blueprint.post(PATH)
    def opt_out() -> Response:
        current_request_context().endpoint = "report_opt_out"
        link = parse_opt_out(request.args)
        is_opted_out = request.form.get("action") != SUBSCRIBE
        if link is None or not _set(pool, link, is_opted_out):
            return _invalid_link()
        if not is_opted_out:
            return _page("You receive report mail again.", "", "Stop report mail", "")
        return _page("You receive no more report mail of this workspace.", "", "Receive it again", SUBSCRIBE)

    return blueprint


def _set(pool: ConnectionPool, link: OptOutLink, is_opted_out: bool) -> bool:
    row = pool.execute(
        lambda connection: connection.execute(
            "select app.set_opt_out(%s, %s, %s, %s)", (link.workspace_id, link.recipient_hash, link.signature, is_opted_out)
        ).fetchone()
    )
    return row == (True,)


def _invalid_link() -> Response:
    response = _document("This link is not valid.", "<p>Open the link of the mail again: it may have been cut off.</p>")
    response.status_code = 403
    return response


def _page(title: str, text: str, button: str, action: str) -> Response:
    # without an action, the form is sent to the page's own URL, which has the signature
    form = (
        f'<form method="post"><input type="hidden" name="action" value="{action}"><button type="submit">{button}</button></form>'
    )
    return _document(title, f"<p>{text}</p>{form}" if text else form)


def _document(title: str, body: str) -> Response:
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
    return Response(html, mimetype="text/html", headers=HEADERS)
