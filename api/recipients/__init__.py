"""Recipient domains: which hosts take their mail."""
