"use strict";
// A plain http server: no packages, $PORT, a health check, and a graceful end.
const http = require("node:http");

const release = process.env.HOMEPORT_RELEASE || "development";
const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Node on Homeport</title>
<link rel="icon" href="data:,">
<style>
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 17px/1.6 system-ui, sans-serif;
  color: #1c2b33; background: #f1f7ee }
main { margin: 12px; padding: 32px 28px; max-width: 560px; background: #fff; border-radius: 12px;
  box-shadow: 0 1px 3px #0002, 0 8px 24px #0001 }
h1 { margin: 0 0 8px; font-size: clamp(1.75rem, 6vw, 2.5rem); line-height: 1.15; color: #2f6b2a }
</style>
</head>
<body><main><h1>Hello from Node</h1><p>Release ${release}, Node ${process.version}.</p></main></body>
</html>
`;

const server = http.createServer((request, response) => {
  response.setHeader("X-Release", release);
  const path = request.url.split("?")[0];
  if (path === "/health") {
    response.setHeader("Content-Type", "application/json");
    response.end('{"status":"ok"}');
  } else if (path === "/slow") {
    setTimeout(() => response.end("done\n"), 2000);
  } else if (path === "/") {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(page);
  } else {
    response.statusCode = 404;
    response.end("not found\n");
  }
});

// Longer than the edge keeps an idle connection, so that it is the edge that closes.
server.keepAliveTimeout = 75_000;
server.listen(Number(process.env.PORT || 8000), "127.0.0.1", () => {
  console.log(`listening on ${server.address().port}`);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    // Takes no new connection, answers what is in hand, then the process ends by itself.
    server.close(() => console.log("stopped"));
    server.closeIdleConnections();
  });
}
