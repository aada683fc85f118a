"""What the readers and the writer of the plain ptychodus do: python open_files.py SCAN RESULT"""

import sys
from pathlib import Path

from ptychodus.api.io import save_product
from ptychodus.api.plugins import PluginRegistry


def main(scan: str, result: str) -> None:
    registry = PluginRegistry.load_plugins()

    def named(chooser):
        return next(one.strategy for one in chooser if one.simple_name == "ptycho")

    frames = named(registry.diffraction_file_readers).read(Path(scan))
    (array,) = frames
    assert array.get_patterns().shape == (49, 32, 32)
    assert frames.get_bad_pixels().sum() == 1
    product = named(registry.product_file_readers).read(Path(result))
    save_product(Path("read.h5"), product)
    named(registry.product_file_writers).write(Path("written.h5"), product)
    assert len(named(registry.probe_position_file_readers).read(Path(result))) == 49


if __name__ == "__main__":
    main(*sys.argv[1:])
