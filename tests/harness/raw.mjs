// A client that speaks frames, not events: for what a stock client would never do.

import { once } from "node:events";
import { WebSocket } from "ws";
import { within } from "./clients.mjs";

/** Opens a WebSocket session and joins the main namespace; the socket's id is in `ws.id`. */
export async function rawClient(url, namespace = "") {
  const ws = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  const frames = [];
  ws.on("message", (data, binary) => frames.push(binary ? data : data.toString()));
  ws.closed = once(ws, "close");
  ws.nextFrame = (starts) =>
    within(
      (async () => {
        for (;;) {
          const at = frames.findIndex((frame) => typeof frame === "string" && frame.startsWith(starts));
          if (at >= 0) return frames.splice(at, 1)[0];
          await once(ws, "message");
        }
      })(),
      `frame ${starts}`,
    );
  ws.handshake = JSON.parse((await ws.nextFrame("0")).slice(1));
  ws.send(`40${namespace}`);
  ws.id = JSON.parse((await ws.nextFrame("40")).slice(2)).sid;
  return ws;
}
