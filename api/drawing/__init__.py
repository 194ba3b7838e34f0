"""Draws charts as SVG and PNG, in a process of its own: the library holds Python's lock for as long as it draws, takes up
to 180 MB, and ends its whole process if a text cannot be drawn.

It knows Vega-Lite documents and nothing of endpoints, tenants or HTTP.
"""
