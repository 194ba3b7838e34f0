"""Generates SDKs of the API from openapi.json, with generators that other projects maintain."""
