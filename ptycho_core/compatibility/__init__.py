"""PtychoPINN's commands, ``ptycho_train`` and ``ptycho_inference``: one table of its spellings, and what they mean in ours.

The rest of the core knows of it as a `settings.sources.SettingsSource`.
"""
