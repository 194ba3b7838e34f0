"""The scheduler process: one leader of any number of processes runs the scheduled jobs.

This is the composition root of everything that runs at a time of day, so it may import every feature below it.
"""
