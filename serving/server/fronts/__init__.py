"""The server's ports: gRPC services, health check, REST and metrics."""
