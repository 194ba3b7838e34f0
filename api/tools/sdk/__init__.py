"""SDKs of the API, out of openapi.json, by generators that others keep."""
