"""gRPC's health service, grpc.health.v1, by hand.

Its two messages are in wire.proto for the client anyway, so it needs no package more.
"""

from typing import Any

import grpc

from serving.wire import wire_pb2

SERVICES = ("", "ModelService", "PredictionService")
"""The names that the real server knows; they are not the services' full names."""


class Health:
    """The health service.

    `Watch` is left out: gRPC takes its absence as healthy, and a watcher would hold a thread for
    ever.

    Attributes:
        serving: whether the server answers requests now.
    """

    def __init__(self) -> None:
        self.serving = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Makes the service for `grpc.Server.add_generic_rpc_handlers`."""
        check = grpc.unary_unary_rpc_method_handler(
            self.check,
            request_deserializer=wire_pb2.HealthCheckRequest.FromString,
            response_serializer=wire_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})

    def check(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Answers the Check method."""
        if request.service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        status = wire_pb2.HealthCheckResponse
        return status(status=status.SERVING if self.serving else status.NOT_SERVING)
