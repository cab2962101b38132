"""`python -m onedc` is the `onedc` command."""

from __future__ import annotations

import sys

from onedc.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
