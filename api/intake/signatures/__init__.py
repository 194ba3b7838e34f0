"""Verifies that a webhook was sent by its provider: one module a scheme. May import errors."""
