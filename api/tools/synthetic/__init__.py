"""Synthetic events, generated inside the database, the same for the same seed."""
