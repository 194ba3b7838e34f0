"""Tools for agents, over a real warehouse and the real API in this process."""
