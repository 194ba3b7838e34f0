"""Native events over HTTP, in the API: `POST /events`. May import web, auth, ingest, db and errors."""
