"""Jobs that outlive the process that asked for them: procrastinate, in PostgreSQL."""
