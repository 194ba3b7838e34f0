"""Tools for agents (Model Context Protocol) over the REST API: `mailmart mcp` on stdio, and /mcp of the API server.

A tool is a request of the API, so keys, scopes, limits and row-level security are the API's. Nothing here computes a metric.
"""
