"""What is no framework's business in a reconstruction: the start, the decisions on the way, the run from file to result."""
