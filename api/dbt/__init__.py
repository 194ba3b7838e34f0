"""Runs dbt: its environment, its processes and its manifest.

May import db, processes, settings and errors. dbt itself is only imported in processes of its own, because that takes seconds.
"""
