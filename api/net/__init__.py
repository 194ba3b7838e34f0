"""Safety of outgoing network calls: which addresses may be called, and hard deadlines. Imports nothing of this project."""
