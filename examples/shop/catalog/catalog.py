"""The shop's catalog: serves the products to the private network only."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 3000
PRODUCTS = [
    {"name": "Coral lamp", "price": 49.00, "stock": 12},
    {"name": "Lagoon mug", "price": 14.50, "stock": 120},
    {"name": "Palm notebook", "price": 9.90, "stock": 31},
]


class Catalog(BaseHTTPRequestHandler):
    server_version = "catalog"

    def do_GET(self):
        if self.path != "/products":
            self.answer(404, {"error": "there is only /products"})
            return
        self.answer(200, {"served_by": os.environ.get("CONTAINER", "?"), "products": PRODUCTS})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, fmt, *args):
        print(f"{self.client_address[0]} {fmt % args}", flush=True)


class Server(ThreadingHTTPServer):
    # The default backlog of 5 is short for a burst of new connections.
    request_queue_size = 128
    daemon_threads = False


def main():
    host = os.environ.get("SCALINGO_PRIVATE_HOSTNAME")
    if not host:
        sys.exit("SCALINGO_PRIVATE_HOSTNAME is not set: the catalog serves a private network only")
    server = Server((host, PORT), Catalog)
    # shutdown() waits for the loop, so it cannot be called from a handler
    # that interrupts the loop's own thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"catalog listens on {server.server_address[0]}:{PORT} ({host})", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
