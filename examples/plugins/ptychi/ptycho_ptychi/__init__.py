"""pty-chi as a backend of ptycho; ``ptycho_ptychi.plugin`` holds the hooks."""
