// What `sockeye` has Node.js load before an app that runs several times: the hooks that make the copies one server.
//
// Every Node.js process below the supervisor loads this file: npm, tsx, children of the app. It changes nothing until the process
// listens on a TCP port, and nothing at all in threads and in the workers of an app's own `cluster`. What a hook finds is taken on by the
// other files here; see docs/node-apps.md.

"use strict";

const { isMainThread } = require("worker_threads");

if (isMainThread && process.env.SOCKEYE_PLAIN_LINK) install();

function install() {
  const { EventEmitter } = require("events");
  const net = require("net");
  const engines = require("./engines.cjs");
  const servers = require("./servers.cjs");

  // Engine.IO 4 to 6 and Socket.IO 3 and 4 are known by what they can do: in bundles names are lost. The prototype chain is whole here.
  const { init } = EventEmitter;
  EventEmitter.init = function (...args) {
    Reflect.apply(init, this, args);
    if (typeof this.generateId === "function" && typeof this.handshake === "function") engines.adopt(this);
    else if (typeof this.initEngine === "function" && typeof this.adapter === "function") servers.adopt(this);
  };

  // Engine.IO 3 never calls its parent's constructor.
  for (const name of ["on", "addListener"]) {
    const original = EventEmitter.prototype[name];
    EventEmitter.prototype[name] = function (event, ...args) {
      if (event === "connection" && typeof this.generateId === "function" && typeof this.handleRequest === "function") engines.adopt(this);
      return Reflect.apply(original, this, [event, ...args]);
    };
  }

  // http, express, fastify, `new Server(3000)`: all end here.
  const { listen } = net.Server.prototype;
  net.Server.prototype.listen = function (...args) {
    const { wish } = require("./listen.cjs");
    const wanted = wish(args);
    return wanted ? wanted(this, listen) : Reflect.apply(listen, this, args);
  };
}
