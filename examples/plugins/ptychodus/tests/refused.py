"""Why the batch mode refuses to train on folders: python refused.py FOLDER..."""

import sys
from pathlib import Path

from ptycho_core.errors import SettingsError
from ptycho_ptychodus.host import Host


def main(folders: list[Path]) -> None:
    Host().install()
    from ptychodus.model import ModelCore

    with ModelCore(None) as model:
        for folder in folders:
            try:
                model.batch_mode_execute("train", folder, folder.parent / "results")
            except SettingsError as error:
                print(f"refused: {error}", flush=True)


if __name__ == "__main__":
    main([Path(one) for one in sys.argv[1:]])
