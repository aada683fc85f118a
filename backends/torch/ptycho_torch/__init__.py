"""PyTorch backend of ptycho."""
