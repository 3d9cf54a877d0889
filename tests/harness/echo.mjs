// Programs behind the edge that say what reached them: their name, the request's line and its headers.

import http from "node:http";

/** Starts one on a free port of loopback. `health(status)` is what `HEAD /health` gets; `health.asked` counts. */
export async function echo(name) {
  const sockets = new Set();
  const self = { name, asked: 0, health: 200 };
  const server = http.createServer((request, response) => {
    if (request.url === "/health") {
      self.asked += 1;
      response.writeHead(self.health).end();
      return;
    }
    const { sid, cookie } = Object.fromEntries(new URL(request.url, "http://x").searchParams);
    const headers = { "content-type": "application/json", "x-home": name };
    // As a server of Socket.IO 4 does with the option `cookie`.
    if (cookie) headers["set-cookie"] = `io=${cookie}; Path=/; HttpOnly`;
    response.writeHead(200, headers);
    response.end(JSON.stringify({ name, sid, url: request.url, headers: request.headers }));
  });
  server.on("connection", (socket) => sockets.add(socket.on("close", () => sockets.delete(socket))));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(self, {
    at: `127.0.0.1:${server.address().port}`,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** One request on a connection of its own. */
export function ask(port, path = "/", headers = {}, { tls, method = "GET", ...options } = {}) {
  return new Promise((resolve, reject) => {
    const request = (tls ?? http).request({ host: "127.0.0.1", port, path, method, headers, agent: false, timeout: 10_000, ...options }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (more) => (text += more)).on("end", () => {
        let said;
        try {
          said = JSON.parse(text);
        } catch {
          said = undefined;
        }
        resolve({ status: answer.statusCode, headers: answer.headers, cookie: answer.headers["set-cookie"]?.[0], text, said });
      });
    });
    request.on("error", reject).on("timeout", () => request.destroy(new Error("no answer within 10 s"))).end();
  });
}
