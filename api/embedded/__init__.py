"""PostgreSQL and Valkey out of their wheels, run beside the project where no other servers are configured."""
