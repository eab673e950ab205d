"""grpc.health.v1 by hand: two messages, which wire.proto has anyway, don't need a package more."""

from typing import Any

import grpc

from serving.wire import wire_pb2

SERVICES = ("", "ModelService", "PredictionService")
"""What the real server knows; not the services' full names."""


class Health:
    """Says whether the server serves.

    `Watch` is left out: gRPC takes its absence as healthy, and a watcher would hold a thread for
    ever.
    """

    def __init__(self) -> None:
        self.serving = False

    def handler(self) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        check = grpc.unary_unary_rpc_method_handler(
            self.check,
            request_deserializer=wire_pb2.HealthCheckRequest.FromString,
            response_serializer=wire_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})

    def check(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The Check method."""
        if request.service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        status = wire_pb2.HealthCheckResponse
        return status(status=status.SERVING if self.serving else status.NOT_SERVING)
