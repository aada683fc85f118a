"""What holds backends to the contract: the backend in NumPy that the others are measured by, and how far they may differ."""
