"""What a simulated scan is made of: objects, probes and positions; joined in ``ptycho_core.simulate``."""
