"""``python -m moodbook``: the command line."""

from moodbook.cli.app import main

main()
