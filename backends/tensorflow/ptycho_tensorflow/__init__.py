"""TensorFlow backend of ptycho."""
