"""Comparing backends, or results that exist: the same job through each, one table, one figure."""
