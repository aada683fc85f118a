"""``python -m ptycho_core`` is the command ``ptycho``."""

from ptycho_core.cli.main import run

run()
