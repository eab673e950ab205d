"""The error of a request that is answered with a status other than OK."""

import grpc


class RequestError(Exception):
    """A refused or failed request, with the status and the text that the real server would send.

    Attributes:
        code: the gRPC status.
        details: the text of the status.
    """

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


def invalid(details: str) -> RequestError:
    """Makes the error of a wrong request, INVALID_ARGUMENT."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, details)
