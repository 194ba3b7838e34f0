"""The generated reading endpoints: their routes, the response cache, and a fast path for repeated requests.

It may import `web`, `auth`, `contract`, `db` and `errors`; no other feature.
"""
