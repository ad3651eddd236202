"""The command ``gatewise``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Without what it needs, say what to install."""
    try:
        from gatewise.apps.commands import app
    except ModuleNotFoundError as error:
        sys.exit(f"gatewise needs {error.name} for its commands: pip install 'gatewise[tasks]'")
    except KeyboardInterrupt:
        sys.exit(130)
    app()


if __name__ == "__main__":
    main()
