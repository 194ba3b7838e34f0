"""Answers and definitions of the tools for agents."""
