// TypeScript, run by tsx.

import { createServer } from "node:http";
import { Server } from "socket.io";
import handlers from "./handlers.cjs";

const server = createServer();
const io: Server = new Server(server);
handlers(io);
server.listen(Number(process.env.PORT), "127.0.0.1");
