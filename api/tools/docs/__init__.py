"""The documentation site's own code: sections generated from code and YAML, and the hooks of mkdocs that put them in.

May import everything that it documents. Nothing imports it.
"""
