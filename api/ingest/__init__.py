"""Lands files of webhook bodies and events, as they came; what they mean is read in SQL, in staging."""
