"""`python -m dualprune`."""

from dualprune.cli import main

main()
