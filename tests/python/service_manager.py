"""A service manager for one unit, where systemd cannot be run: what systemd.service(5), sd_notify(3) and sd_listen_fds(3) say of Type=notify, the store of
descriptors, Restart=on-failure, ExecStop, ExecReload and KillMode=process.

    python service_manager.py UNIT SOCKET      commands on standard input: start, stop, reload, main

It answers each command by a line, and says each word of the service as `said WORD`. It ends with its standard input.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading

unit_file, notify_path = sys.argv[1:3]
unit = {}
for line in open(unit_file):
    if "=" in line and not line.startswith("#"):
        key, value = line.rstrip("\n").split("=", 1)
        unit.setdefault(key, []).append(value.replace("%%", "%"))
assert unit["Type"] == ["notify"] and unit["KillMode"] == ["process"] and unit["Restart"] == ["on-failure"]
environment = dict(word.split("=", 1) for value in unit.get("Environment", []) for word in shlex.split(value))
# No more than systemd gives to a service of a user.
base = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG")}
base.update(environment)
pause = float(re.fullmatch(r"(\d+)(ms|s)?", unit["RestartSec"][0]).group(1)) * (0.001 if unit["RestartSec"][0].endswith("ms") else 1)
store_max = int(unit.get("FileDescriptorStoreMax", ["0"])[0])

lock = threading.Condition()
main = None  # the process of the service
ready = False
stopping = False
stored = {}  # name -> descriptor


def say(text):
    # One write a line: several threads say something.
    os.write(1, (text + "\n").encode())


def words(key):
    for value in unit.get(key, []):
        yield [str(main.pid) if word == "$MAINPID" else word for word in shlex.split(value)]


def hear(channel):
    global ready
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, 65536, 16)
        lines = dict(line.split("=", 1) for line in data.decode().splitlines())
        with lock:
            name = lines.get("FDNAME", "stored")
            if lines.get("FDSTORE") == "1":
                for descriptor in descriptors:
                    if len(stored) < store_max and name not in stored:
                        stored[name] = descriptor
                    else:
                        os.close(descriptor)
            elif lines.get("FDSTOREREMOVE") == "1" and name in stored:
                os.close(stored.pop(name))
            if lines.get("READY") == "1":
                ready = True
            lock.notify_all()
        say("said " + " ".join(data.decode().splitlines()))


def begin():
    """Starts the service; what is stored is passed from descriptor 3 on."""
    global main, ready
    ready = False
    [command] = [shlex.split(value) for value in unit["ExecStart"]]
    passed = list(stored.items())
    env = dict(base, NOTIFY_SOCKET=notify_path, WATCHDOG_USEC="2000000")
    shell = 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"'
    if passed:
        env.update(LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=":".join(name for name, _ in passed))
    else:
        shell = 'export WATCHDOG_PID=$$; exec "$@"'

    def arrange():
        copies = [os.dup(descriptor) for _, descriptor in passed]
        high = [os.dup2(copy, 100 + at) for at, copy in enumerate(copies)]
        for at, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + at)
        os.closerange(3 + len(passed), 200)

    main = subprocess.Popen(["/bin/sh", "-c", shell, "sh", *command], env=env, preexec_fn=arrange, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    threading.Thread(target=watch, args=(main,), daemon=True).start()


def watch(process):
    """Starts the service anew when it failed; releases what is stored when it ended well."""
    code = process.wait()
    say(f"ended {code}")
    if stopping or code == 0:
        if not stopping:
            run("ExecStop")
        release()
        return
    threading.Event().wait(pause)
    with lock:
        if not stopping:
            begin()


def run(key):
    for command in words(key):
        subprocess.run(command, env=base, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def release():
    with lock:
        for descriptor in stored.values():
            os.close(descriptor)
        stored.clear()


channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.bind(notify_path)
threading.Thread(target=hear, args=(channel,), daemon=True).start()
for line in sys.stdin:
    command = line.strip()
    if command == "start":
        with lock:
            stopping = False
            begin()
            lock.wait_for(lambda: ready or main.poll() is not None, 60)
        say("done" if ready else "failed")
    elif command == "stop":
        stopping = True
        run("ExecStop")
        if main.poll() is None:
            main.send_signal(signal.SIGTERM)
        main.wait()
        release()
        say("done")
    elif command == "reload":
        run("ExecReload")
        say("done")
    elif command == "main":
        say(f"main {main.pid if main and main.poll() is None else 0}")
os.remove(notify_path)
