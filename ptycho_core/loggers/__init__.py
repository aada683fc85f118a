"""What a running job writes of itself: a table, TensorBoard's events or an MLflow run; one module a kind, none needed to run."""
