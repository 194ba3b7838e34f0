"""Bodies of providers, one module each, written from their documentation.

Each module has EVENTS: bodies and the types that have to come of them, all about one message; BOUNCES: bounces and their reasons;
MALFORMED: bodies that no build may fail of; and COUNTED: whole inputs, by name.
"""
