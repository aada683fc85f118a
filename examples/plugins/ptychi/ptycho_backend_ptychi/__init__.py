"""pty-chi as a backend of ptycho; ``ptycho_backend_ptychi.plugin`` holds the hooks."""
