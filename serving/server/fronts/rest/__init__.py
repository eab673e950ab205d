"""TensorFlow Serving's REST API: JSON texts, tensors from them, and answers."""
