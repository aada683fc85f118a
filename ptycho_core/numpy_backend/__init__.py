"""The backend that the core brings itself: the engine's verbs on NumPy and SciPy, without a framework."""
