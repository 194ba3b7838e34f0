"""Benchmarks of builds, queries, the API and exports, on servers of their own, beside controls of the same run."""
