"""One pass of a trained network over a scan: what is no framework's business."""
