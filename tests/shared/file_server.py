"""A web server on this machine that serves files, and misbehaves as it is told."""

import contextlib
import http.server
import re
import threading


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files`, by their path; other paths are missing (404).

    Attributes:
        files: dict of bytes by path, such as `"/set/file.bin"`.
        accepts_ranges: bool, whether requests for the rest of a file get that alone.
        breaks: dict by path of the numbers of bytes after which the next answers break off.
        statuses: dict by path of the status codes of the next answers.
        stalls: dict by path of the numbers of bytes after which the next answers stall, until the server ends.
        without_length: bool, whether to leave out `Content-Length`.
        requests: list of (path, range asked for or `None`), in order.
    """

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files, self.breaks, self.statuses, self.stalls, self.requests = {}, {}, {}, {}, []
        self.accepts_ranges, self.without_length = True, False
        self.ending = threading.Event()
        self.stalling = threading.Event()  # An answer has stalled.

    def publish(self, folder, at):
        """Serves all files below a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.files[f"{at}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()

    def handle_error(self, request, client_address):
        """Says nothing where the other side has hung up."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append((self.path, asked))
        if server.statuses.get(self.path):
            return self.send_error(server.statuses[self.path].pop(0))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.accepts_ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not server.without_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        for numbers in (server.breaks, server.stalls):
            if numbers.get(self.path):
                self.wfile.write(rest[: numbers[self.path].pop(0)])
                self.close_connection = True
                if numbers is server.stalls:
                    server.stalling.set()
                    server.ending.wait(60)
                return None
        self.wfile.write(rest)
        return None

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def file_server(handler=Handler):
    """A running `FileServer`, with another handler if need be."""
    with FileServer(handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.ending.set()
            running.shutdown()
            thread.join()
