"""Settings: each declared once, resolved once, frozen, with its source kept. ``specs/options.md`` binds."""
