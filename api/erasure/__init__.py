"""Erases a workspace or a recipient: rows in every table, and files of exports. Functions of the schema app do the work on rows.

`erase.py` runs it, `person.py` makes the patterns by which a recipient is found, `fields.py` lists members of webhooks' bodies.
"""
