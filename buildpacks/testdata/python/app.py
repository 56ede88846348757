"""A sample app with a dependency and a command line tool of that dependency."""
import http.server
import os
import subprocess

import greeting


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        tool = subprocess.run(["greet"], capture_output=True, text=True, check=True).stdout.strip()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{greeting.TEXT}, {tool}\n".encode())


http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
