"""The composition root of background work: connects jobs with exports and reports. May import everything below it."""
