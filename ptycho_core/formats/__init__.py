"""One module a file format; scans are opened through ``ptycho_core.formats.opening``."""
