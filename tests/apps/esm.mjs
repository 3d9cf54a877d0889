// ECMAScript modules, and a server that socket.io makes itself.

import { Server } from "socket.io";
import handlers from "./handlers.cjs";

handlers(new Server(Number(process.env.PORT)));
