"""Logs, Prometheus metrics and telemetry events (PostHog), for all other packages. May import db and settings only."""
