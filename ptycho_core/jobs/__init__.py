"""What the jobs have in common around their work: who watches, what is logged, and which old logs go."""
