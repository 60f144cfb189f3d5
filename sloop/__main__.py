"""``python -m sloop`` is ``sloop``."""

from sloop.cli import main

if __name__ == "__main__":
    main()
