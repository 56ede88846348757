"""Opens new connections by name, and prints whom each one reached."""

import socket
import sys

host, port, count = sys.argv[1:]
for _ in range(int(count)):
    with socket.create_connection((host, int(port))) as connection:
        print(connection.getpeername()[0])
