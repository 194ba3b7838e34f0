"""What `mailmart bench` measures: on servers of its own, beside controls of the same run."""
