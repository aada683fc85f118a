"""The tests that prove a backend; ``docs/conformance.md`` says how they are run. They are collected for a named backend only."""
