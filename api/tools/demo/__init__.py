"""What `mailmart demo` makes and remembers beside the servers: data, a build, a key, and what it says at the end."""
