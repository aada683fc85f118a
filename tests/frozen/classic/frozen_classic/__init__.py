"""A frozen backend of contract 1.0 that uses everything it has."""
