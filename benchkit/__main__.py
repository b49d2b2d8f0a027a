"""`python -m benchkit` is the command `benchkit`."""

from benchkit.cli.boundary import main

main()
