"""JAX as a backend of ptycho; ``ptycho_backend_jax.plugin`` holds the hooks."""
