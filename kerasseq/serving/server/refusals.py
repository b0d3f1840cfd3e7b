"""Errors of a request, with the status codes of the real server."""

# Status codes of TensorFlow, which gRPC shares.
INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 3, 5, 12, 14
# HTTP status codes by those of TensorFlow; 500 for all others.
HTTP_CODES = {
    1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 14: 503, 16: 401,
}  # fmt: skip


class Refusal(Exception):
    """The error that answers a request.

    Args:
        code: int, a status code of TensorFlow.
        message: str.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code

    @property
    def http_code(self) -> int:
        return HTTP_CODES.get(self.code, 500)


def invalid(message: str) -> Refusal:
    return Refusal(INVALID_ARGUMENT, message)
