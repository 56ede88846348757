// Opens new connections by name, and prints whom each one reached.
const net = require('net');

const [host, port, count] = process.argv.slice(2);

function reach(left) {
  if (left === 0) return;
  const socket = net.connect(Number(port), host);
  socket.on('connect', () => {
    console.log(socket.remoteAddress);
    socket.end();
    socket.destroy();
    reach(left - 1);
  });
  socket.on('error', (err) => {
    console.error(err);
    process.exit(1);
  });
}

reach(Number(count));
