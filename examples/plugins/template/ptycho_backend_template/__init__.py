"""The Template backend of ptycho. Nothing is imported here: listing backends must not pay for it."""
