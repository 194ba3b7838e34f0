"""python -m api: the command `mailmart`, wherever the project's folder has been moved to."""

from api.cli import main

main()
