"""A scan: diffraction patterns, where they were taken, and what is known of the beam; opened from a file, read as asked."""
