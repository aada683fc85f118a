"""Says what loading a backend imports: each line of standard input is a folder and a backend in it, each answer one of JSON.

A process of nothing heavy is made once; each backend is loaded in a copy of it.
"""

import json
import os
import sys

from ptycho_core.backends.discovery import forget
from ptycho_core.conformance.suite.laziness import heavy_imports


def main():
    for line in sys.stdin:
        site, name = line.split()
        child = os.fork()
        if not child:
            sys.path.insert(0, site)
            forget()
            print(json.dumps(heavy_imports(name)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
