"""Exports: endpoints' data, or single messages, as files that a worker writes in the background.

A request becomes a plan and a row of app.exports (routes, plan, repository); a worker runs attempts at it (attempt, snapshot,
formats, storage); the file is served by a signed link (downloads). May import web, auth, contract, jobs and below, not reports.
"""
