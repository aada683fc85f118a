"""A frozen backend of contract 1.0 with the required hooks alone."""
