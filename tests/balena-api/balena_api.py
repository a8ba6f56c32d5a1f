#!/usr/bin/python3
"""The stand-in for the balena API: see README.md, or --help."""

from standin.main import main

if __name__ == "__main__":
    main()
