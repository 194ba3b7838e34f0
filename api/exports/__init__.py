"""Analytics as files: asked for at the API, written by a worker, fetched by a link that expires."""
