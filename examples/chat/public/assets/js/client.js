// The chat page: connects to the server that served it, shows what happens, sends what is typed.
//
// `?port=3000` connects to another port of the same host, for a page that a web server on port 80 delivers.
(function () {
  "use strict";

  /** How many lines the page keeps: an open window must not grow for ever. */
  const LINES_MAX = 1000;

  const element = (id) => document.getElementById(id);
  const log = element("log");
  const input = element("input");

  const asked = new URLSearchParams(location.search).get("port");
  const port = asked || location.port || (location.protocol === "https:" ? "443" : "80");
  const socket = io.connect(location.protocol + "//" + location.hostname + ":" + port + "/");
  window.socket = socket; // for the browser's console

  socket.on("connect", function () {
    write("connect", "connected as " + socket.id);
    show("connected");
    socket.io.engine.on("upgrade", function (transport) {
      write("connect", "upgraded to " + transport.name);
      show("connected");
    });
  });

  socket.on("disconnect", function (reason) {
    write("disconnect", "disconnected: " + reason);
    show("disconnected");
  });

  socket.on("connect_error", function (error) {
    write("disconnect", "cannot connect: " + error.message);
    show("disconnected");
  });

  socket.on("info", function (data) {
    write("info", data.msg);
  });

  socket.on("msg", function (data) {
    write("msg", data.msg);
  });

  element("send").addEventListener("click", function (event) {
    event.preventDefault();
    const text = input.value;
    if (text === "") {
      alert("input your message");
      return;
    }
    socket.emit("msg", text);
    input.value = "";
    input.focus();
  });

  /** Adds a line with the time to the log; text only, whatever somebody may have typed. */
  function write(kind, text) {
    const line = document.createElement("li");
    line.className = kind;
    const time = document.createElement("time");
    const now = new Date();
    time.dateTime = now.toISOString();
    time.textContent = now.toTimeString().slice(0, 8);
    const what = document.createElement("span");
    what.textContent = text;
    line.append(time, what);
    log.append(line);
    while (log.children.length > LINES_MAX) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  /** Says in the header how the page is connected. */
  function show(state) {
    const connected = state === "connected";
    element("state").textContent = state;
    element("state").dataset.state = state;
    element("transport").textContent = connected ? socket.io.engine.transport.name : "–";
    element("socket").textContent = connected ? socket.id : "–";
  }
})();
