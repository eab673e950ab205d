"""TensorFlow Serving's gRPC API as messages and calls, without TensorFlow."""
