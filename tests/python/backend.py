"""An HTTP server for the tests of the Python package, that does what a request's path asks for:
/status/N answers N, /cut sends half of an answer and closes, /close closes at once, /hang never
answers, everything else answers 200 with the server's port, the Host and how much was sent; a path
that ends with the port of one server is for that one, others answer it with 200.
Prints its port. usage: backend.py [CERTIFICATE KEY]
"""
import errno
import http.server
import random
import ssl
import sys


class Answer(http.server.BaseHTTPRequestHandler):
    """One connection."""
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer in one piece

    def do_GET(self):
        length = int(self.headers.get("content-length", "0"))
        sent = self.rfile.read(length)
        while self.headers.get("transfer-encoding") == "chunked":
            size = int(self.rfile.readline() or b"0", 16)
            sent += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                break
        parts = self.path.split("?")[0].strip("/").split("/")
        if len(parts) > 2 and parts[2] != str(self.server.server_port):
            parts = [""]
        if parts[0] == "hang":
            self.rfile.read(1)  # until the client has had enough
        if parts[0] in ("close", "hang"):
            self.close_connection = True
            return
        body = f"{self.server.server_port} {self.headers.get('host')} {len(sent)}".encode()
        status = int(parts[1]) if parts[0] == "status" else 200
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", "1")
        self.send_header("endpoint-load-metrics", "TEXT cpu_utilization=0.3, rps_fractional=120")
        self.send_header("Content-Length", str(len(body) + (100 if parts[0] == "cut" else 0)))
        self.end_headers()
        self.wfile.write(body)
        if parts[0] == "cut":
            self.close_connection = True

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        """Says nothing."""


def listen():
    """On a port that nobody else has, below the ephemeral ones."""
    while True:
        try:
            return http.server.ThreadingHTTPServer(("127.0.0.1", random.randrange(17000, 29000)),
                                                   Answer)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def main(*certificate):
    """Says its port and serves until it is killed."""
    server = listen()
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
