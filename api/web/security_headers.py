"""Security headers for browsers, on every response."""

from __future__ import annotations

# for API responses: they are never a page, and never in a frame
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
# for the documentation page: only its own files, and calls to this service
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# for the pages: their own scripts and styles, and calls to this service
PAGES_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICY_HEADER = "Content-Security-Policy"
COMMON_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


def with_security_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a response and the security headers; a policy that the response sets itself is kept."""
    has_policy = any(name == POLICY_HEADER for name, _ in headers)
    return [*headers, *COMMON_HEADERS] if has_policy else [*headers, *COMMON_HEADERS, (POLICY_HEADER, API_POLICY)]
