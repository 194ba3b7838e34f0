"""`python -m api`: the command `mailmart`, for a project folder whose installed script is not on the PATH."""

from api.cli import main

main()
