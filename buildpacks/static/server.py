"""Serves a folder of files over HTTP. Usage: server.py FOLDER, port in $PORT.

It sends index.html for folders, 404.html (or a line of text) for what is not
there, and lists nothing. Files whose path has a part that begins with a dot
are not served (except .well-known), nor the Procfile, nor anything outside of
the folder, whatever symbolic links say.
"""

import hashlib
import http.server
import mimetypes
import os
import re
import shutil
import signal
import sys
import threading
import urllib.parse

RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
UNSERVED = {"Procfile"}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
         ".webmanifest": "application/manifest+json", ".woff2": "font/woff2", ".avif": "image/avif"}
TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


class Site:
    """Maps paths of URLs to files."""

    def __init__(self, folder):
        self.root = os.path.realpath(folder)
        self._tags = {}

    def find(self, path):
        """The file for a decoded URL path, None, or the path with a "/" added."""
        parts = [part for part in path.split("/") if part]
        if "\0" in path or any(self._hidden(part) for part in parts):
            return None
        name = os.path.realpath(os.path.join(self.root, *parts))
        if name != self.root and not name.startswith(self.root + os.sep):
            return None
        # Where a link leads counts too: it must not uncover a hidden file.
        inside = os.path.relpath(name, self.root).split(os.sep)
        if any(self._hidden(part) for part in inside if part != "."):
            return None
        if os.path.isdir(name):
            if not path.endswith("/"):
                return path + "/" if os.path.isfile(os.path.join(name, "index.html")) else None
            return self.find(path + "index.html")
        return name if os.path.isfile(name) and not path.endswith("/") else None

    @staticmethod
    def _hidden(part):
        return part in UNSERVED or (part.startswith(".") and part != ".well-known")

    def tag(self, name):
        """An ETag from the content: time stamps do not survive a build."""
        if name not in self._tags:
            with open(name, "rb") as file:
                self._tags[name] = '"' + hashlib.file_digest(file, "sha256").hexdigest()[:32] + '"'
        return self._tags[name]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "atoll-static", ""
    timeout = 60  # of an idle connection, in seconds

    def do_GET(self):
        with self.server.busy:
            self._answer()

    do_HEAD = do_GET

    def _refuse_method(self):
        self.close_connection = True  # a body may follow
        self._text(405, "only GET and HEAD are served here", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse_method

    def _answer(self):
        url = urllib.parse.urlsplit(self.path)
        found = self.server.site.find(urllib.parse.unquote(url.path))
        if found and not os.path.isabs(found) or found and found.endswith("/"):
            # A single leading slash: "//host" would lead elsewhere.
            where = "/" + urllib.parse.quote(found).lstrip("/") + ("?" + url.query if url.query else "")
            return self._text(301, "moved to " + where, {"Location": where})
        if found:
            return self._file(200, found)
        missing = self.server.site.find("/404.html")
        return self._file(404, missing) if missing else self._text(404, "not found")

    def _file(self, status, name):
        with open(name, "rb") as file:
            size, tag = os.fstat(file.fileno()).st_size, self.server.site.tag(name)
            kind = self._type(name)
            headers = {"Content-Type": kind, "ETag": tag, "Accept-Ranges": "bytes",
                       # A page is always asked for anew; what it needs, rarely.
                       "Cache-Control": "no-cache" if kind.startswith("text/html") or status != 200 else "public, max-age=300"}
            if status == 200 and tag in self.headers.get("If-None-Match", ""):
                return self._start(304, headers)
            start, end = 0, size
            wanted = RANGE.match(self.headers.get("Range", "")) if status == 200 else None
            if wanted and any(wanted.groups()) and self.headers.get("If-Range", tag) == tag:
                start, end = self._range(wanted, size)
                if start >= end:
                    return self._text(416, "no such range", {"Content-Range": f"bytes */{size}"})
                status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{size}"
            self._start(status, {**headers, "Content-Length": str(end - start)})
            if self.command != "HEAD":
                file.seek(start)
                if end == size:
                    shutil.copyfileobj(file, self.wfile)
                else:
                    left = end - start
                    while left > 0 and (data := file.read(min(left, 1 << 16))):
                        self.wfile.write(data)
                        left -= len(data)

    @staticmethod
    def _range(wanted, size):
        first, last = wanted.groups()
        if not first:  # the last N bytes
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1) if last else size

    @staticmethod
    def _type(name):
        extension = os.path.splitext(name)[1].lower()
        kind = TYPES.get(extension) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return kind + "; charset=utf-8" if kind.startswith(TEXT) else kind

    def _text(self, status, text, headers=None):
        body = (text + "\n").encode()
        self._start(status, {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)),
                             "Cache-Control": "no-cache", **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _start(self, status, headers):
        self.send_response(status)
        for name, value in {**headers, "X-Content-Type-Options": "nosniff"}.items():
            self.send_header(name, value)
        if self.server.stopping:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format, *args):  # the base class names it so
        print(self.address_string(), format % args, flush=True)


class Busy:
    """Counts requests under way, so that a stop can wait for them."""

    def __init__(self):
        self._count, self._changed = 0, threading.Condition()

    def __enter__(self):
        with self._changed:
            self._count += 1

    def __exit__(self, *_):
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds):
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, seconds)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True  # idle connections do not hold up a stop

    def __init__(self, address, site):
        super().__init__(address, Handler)
        self.site, self.busy, self.stopping = site, Busy(), False

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def server_bind(self):
        # The base class looks the own name up in the DNS, for nothing.
        http.server.socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: server.py FOLDER")
    port = os.environ.get("PORT", "")
    if not port.isdigit():
        sys.exit("PORT is not set: only web and tcp processes have one; call this process web in the Procfile")
    server = Server(("0.0.0.0", int(port)), Site(sys.argv[1]))

    def stop(*_):
        server.stopping = True
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"serving {sys.argv[1]} on port {port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    server.busy.wait(25)


if __name__ == "__main__":
    main()
