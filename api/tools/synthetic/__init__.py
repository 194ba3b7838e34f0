"""Synthetic mail, repeatable, made inside the database."""
