"""The command line: one module a command; parsing, printing and exit statuses, no logic."""
