"""``python -m mailcheck``: the instruments as commands."""

import sys

from mailcheck.cli import main

if __name__ == "__main__":
    sys.exit(main())
