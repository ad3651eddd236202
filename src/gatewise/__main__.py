"""``python -m gatewise``: the command line."""

from gatewise.apps.command_line import main

if __name__ == "__main__":
    main()
