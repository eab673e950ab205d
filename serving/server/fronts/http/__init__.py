"""The HTTP port beside the gRPC one: limits, bodies, threads for blocking work, graceful stop."""
