"""``python -m webbmosaic.cli``."""

from webbmosaic.cli.root import main

main()
