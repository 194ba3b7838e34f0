"""PostgreSQL and Valkey from their wheels: they run beside the project if no other servers are configured.

May import processes, net, settings and errors.
"""
