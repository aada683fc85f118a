"""Reconstruct in ptychodus as its window does, and stop it: python stop_button.py FOLDER"""

import sys
import time
from pathlib import Path

import numpy as np

from ptycho_ptychodus.host import Host


def main(folder: Path) -> None:
    host = Host()
    host.install()
    from ptychodus.model import ModelCore

    with ModelCore(folder / "settings.ini") as model:
        data = model.workflow_api.load_assembled_diffraction_data(folder / "diffraction.h5")
        given = model.workflow_api.load_product(folder / "product.h5", diffraction=data)
        processing, monitor = model.processing_core.processing_api, model.processing_core.processing_api.task_monitor
        number = processing.reconstruct(product_index=given.get_product_index())
        while monitor.get_progress() < 5:
            time.sleep(0.05)
        assert monitor.get_progress_goal() > 100_000, monitor.get_progress_goal()
        monitor.stop_processing()
        began = time.monotonic()
        while monitor.is_processing:
            time.sleep(0.02)
        took = time.monotonic() - began
        model.run_tasks()
        product = model.product_core.product_api.get_item(number).get_product()
        assert took < 3, took
        assert np.array_equal(product.object_.get_array(), host.library.last.object_.get_array())
        assert np.abs(product.object_.get_array() - 1).max() > 0.1
        assert 5 <= len(product.losses) < 100_000
        print(f"stopped within {took:.2f} s after {len(product.losses)} epochs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
