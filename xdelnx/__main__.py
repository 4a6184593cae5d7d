"""``python -m xdelnx``: the command line."""

import sys

from xdelnx.cli import main

if __name__ == "__main__":
    sys.exit(main())
