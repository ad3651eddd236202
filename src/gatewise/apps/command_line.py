"""The command ``gatewise``."""

from __future__ import annotations

import sys

from gatewise.extras import needed_by


def main() -> None:
    """Run the command line. If a package is missing, say how to install it."""
    try:
        with needed_by("the command gatewise"):
            from gatewise.apps.commands import app
    except ModuleNotFoundError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    app()


if __name__ == "__main__":
    main()
