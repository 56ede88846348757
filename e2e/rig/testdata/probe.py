"""A server for the end-to-end tests: it tells what it sees, and does as told.

Without options it listens on 0.0.0.0:$PORT, as a web process does.
"""

import argparse
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ticks = 0


def say(text):
    # One write for a line, so that threads do not mix theirs.
    os.write(1, (text + "\n").encode())


def read(name):
    with open(name, encoding="utf-8") as file:
        return file.read().strip()


class Probe(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/":
            self.answer({
                "app": os.environ["APP"], "container": os.environ["CONTAINER"],
                "version": read("VERSION"), "value": os.environ.get("VALUE", ""), "ticks": ticks,
            })
        elif url.path == "/env":
            self.answer(dict(os.environ))
        elif url.path == "/headers":
            self.answer({name.lower(): value for name, value in self.headers.items()})
        elif url.path == "/say":
            say(parse_qs(url.query)["text"][0])
            self.answer({})
        elif url.path == "/crash":
            say("crashes")
            os._exit(3)
        else:
            self.send_error(404)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def tick():
    global ticks
    while True:
        ticks += 1
        say(f"tick {ticks}")
        time.sleep(0.05)


def linger():
    while True:
        say("still here")
        time.sleep(0.5)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--private", action="store_true", help="listen on the private name, port 3000")
    options.add_argument("--tick", action="store_true", help="count aloud")
    options.add_argument("--stubborn", action="store_true", help="do not stop when asked to")
    options = options.parse_args()

    address = ("0.0.0.0", int(os.environ.get("PORT", "3000")))
    if options.private:
        address = (os.environ["SCALINGO_PRIVATE_HOSTNAME"], 3000)
    server = Server(address, Probe)

    def stop(*_):
        say("got SIGTERM")
        if options.stubborn:
            threading.Thread(target=linger, daemon=True).start()
        else:
            # shutdown() waits for the loop, which this handler interrupts.
            threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    if options.tick:
        threading.Thread(target=tick, daemon=True).start()
    say(f"listens on {server.server_address[0]}:{server.server_address[1]}")
    server.serve_forever(poll_interval=0.1)
    say("bye")


if __name__ == "__main__":
    main()
