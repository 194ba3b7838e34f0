"""A toolkit for HTTP operations: routes with authorization and strict parameters, responses, schemas, the OpenAPI document.

It knows no feature. It may import `auth`, `contract`, `observability` and `errors`.
"""
