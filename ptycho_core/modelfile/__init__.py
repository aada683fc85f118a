"""The parts of a model file: the archive, its manifest, its tensors. ``ptycho_core.model`` puts them together."""
