"""A request that is answered with a status other than OK."""

import grpc


class RequestError(Exception):
    """What a caller is told, word for word as the real server would say it.

    Attributes:
        code: the gRPC status.
        details: its text.
    """

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


def invalid(details: str) -> RequestError:
    """The commonest answer: INVALID_ARGUMENT."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, details)
