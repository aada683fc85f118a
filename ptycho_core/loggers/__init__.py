"""What a running job writes of its course: a table, TensorBoard's events or an MLflow run; one module a logger.

Loggers are found by their entry points, those of ptycho too (`ptycho_core.settings.components`).
"""
