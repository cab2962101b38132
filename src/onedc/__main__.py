"""`python -m onedc` is the `onedc` command."""

from __future__ import annotations

from onedc.cli.main import process

if __name__ == "__main__":
    process()
