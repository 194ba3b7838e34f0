"""The pages for browsers. They hold no data: a script asks the API's own endpoints, with the key of the person who looks.

It may import `contract`, `web` and everything below; no feature imports it.
"""
