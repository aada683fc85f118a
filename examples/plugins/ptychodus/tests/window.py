"""The window of ptychodus with the page of a reconstructor, as a picture: python window.py FILE.png ALGORITHM"""

import sys

from ptycho_ptychodus.host import Host


def main(picture: str, algorithm: str) -> None:
    host = Host()
    host.install()
    from ptychodus.controller import ControllerCore
    from ptychodus.model import ModelCore
    from ptychodus.view import ViewCore
    from PyQt5.QtWidgets import QApplication, QComboBox, QLineEdit

    application = QApplication(sys.argv[:1])
    with ModelCore(None) as model:
        view = ViewCore(is_developer_mode_enabled=False)
        controller = ControllerCore(model, view, is_developer_mode_enabled=False)
        processing = model.processing_core
        processing.algorithm_parameter.set_value(algorithm)
        names = list(processing.processing_api.available_reconstructors())
        pages = controller._processing_controller._stacked_widget
        assert pages.count() == len(names)
        page, library = pages.currentWidget(), host.library.settings
        backend = algorithm.removeprefix("ptycho_").removesuffix("-network")
        verbs = ["train", "infer"] if algorithm.endswith("-network") else ["reconstruct"]
        sections = {section for verb in verbs for section in library.sections(verb, backend)}
        shown = sum(len(library.declared[section]) for section in sections)
        assert len(page.findChildren(QComboBox)) + len(page.findChildren(QLineEdit)) == shown, shown
        edit = next(one for one in page.findChildren(QLineEdit) if one.text() == "0.02" or one.text() == "0.001")
        edit.setText("0.5")
        edit.editingFinished.emit()
        assert 0.5 in library.asked(verbs[0], backend).values()
        view.processing_action.trigger()
        controller.show_main_window("")
        view.resize(1400, 1000)
        application.processEvents()
        view.grab().save(picture)
        view.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
