"""The composition root of HTTP: builds the features' blueprints into one WSGI app and runs it under granian.

It may import everything that serves requests; nothing but the CLI and the tools imports it.
"""
