"""TensorFlow Serving's settings files."""
