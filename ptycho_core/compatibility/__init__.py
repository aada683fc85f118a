"""PtychoPINN's commands, ``ptycho_train`` and ``ptycho_inference``: one table of its spellings, translated to ours."""
