"""Headers for browsers, on every answer."""

from __future__ import annotations

# an answer of the API is never a page, and nobody's frame
NOTHING = "default-src 'none'; frame-ancestors 'none'"
# the documentation: its own files alone, and calls to this service
OWN_FILES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICY = "Content-Security-Policy"
ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


def with_browser_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of an answer and those that every answer has; its own content security policy stays."""
    has_policy = any(name == POLICY for name, _ in headers)
    return [*headers, *ALWAYS] if has_policy else [*headers, *ALWAYS, (POLICY, NOTHING)]
