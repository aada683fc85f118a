"""What becomes of a reconstruction: registration, metrics, figures and the result folder."""
