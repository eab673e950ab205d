"""The embedded model server: TensorFlow Serving's API, flags and answers inside Python."""
