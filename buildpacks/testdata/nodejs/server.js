// A sample app with a dependency for running and one for building.
const { readFileSync } = require("node:fs");
const built = readFileSync("built.txt", "utf8").trim();
require("node:http")
  .createServer((_, res) => res.end(`${require("greeting")}, ${built}, ${process.env.NODE_ENV}\n`))
  .listen(process.env.PORT);
