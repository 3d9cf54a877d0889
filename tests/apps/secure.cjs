// Servers that the edge cannot stand before: TLS and HTTP/2.

"use strict";

const server = process.env.KIND === "h2" ? require("http2").createServer() : require("https").createServer();
server.listen(Number(process.env.PORT), "127.0.0.1");
