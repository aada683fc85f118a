"""What of training is no framework's business: data, groups, batches, schedules, stopping, checkpoints.

Pure functions of seed, epoch and step, so that every backend does the same and a run can continue from anywhere
(``specs/training.md``).
"""
