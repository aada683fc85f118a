"""The Template backend of ptycho. Nothing is imported here: whoever lists backends must not pay for it."""
