"""Tools around the service: benchmarks, demo, synthetic events, SDKs, reference pages. May import everything below cli."""
