"""Loads webhook bodies and events from files into the raw tables. May import db, settings and errors."""
