"""Warnings and errors of nexusformat's validator for a file, by the definition that it states.

build/ptychodus/bin/python in_nexusformat.py FILE
"""

import sys

from nexusformat.nexus.validate import logger, validate_application

if __name__ == "__main__":
    validate_application(sys.argv[1])
    print("found", logger.total["warning"], logger.total["error"])
