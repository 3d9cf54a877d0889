// Who runs the unit of `sockeye startup`: a systemd of a user's own, in a cgroup and a mount namespace that only it has; and a stand-in for machines where that cannot be.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { until } from "./keeper.mjs";
import { ROOT } from "./target.mjs";

const SYSTEMD = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].find((path) => existsSync(path));

/** Mounts what systemd wants to see where nobody else sees it, and becomes it. `systemd --user` refuses where no systemd booted: an empty directory says that one did. */
const SCRIPT = `set -e
mount --make-rprivate /
group=$1; shift
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/$group
echo $$ > /sys/fs/cgroup/$group/cgroup.procs
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mkdir /run/systemd/system
exec unshare --cgroup --mount sh -c 'umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"' sh "$@"`;

/** Takes away the groups that systemd leaves. */
const CLEAN = "mount --make-rprivate /; umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 cgroup2 /sys/fs/cgroup && find /sys/fs/cgroup/$1 -depth -type d -exec rmdir {} +";

/** Why no systemd can be run here, if so. */
export function noSystemd() {
  if (!SYSTEMD) return "no systemd is installed";
  const probe = 'mount --make-rprivate / && mount -t cgroup2 cgroup2 /mnt && mkdir /mnt/sk-probe-$$ && rmdir /mnt/sk-probe-$$';
  const { status, stderr } = spawnSync("unshare", ["--mount", "--cgroup", "sh", "-c", probe], { encoding: "utf8" });
  return status === 0 ? false : `no systemd can be run here: ${(stderr || "unshare is missing").trim()}`;
}

/** The real one. */
export class Systemd {
  constructor(home) {
    this.home = home;
    this.group = `sk-${process.pid}-${Date.now()}`;
    this.env = { ...home.env, XDG_CONFIG_HOME: join(home.dir, "c") };
    mkdirSync(join(home.dir, "c/systemd/user"), { recursive: true });
  }

  async open(unit) {
    writeFileSync(join(this.home.dir, "c/systemd/user/sockeye.service"), unit);
    const words = ["--mount", "sh", "-c", SCRIPT, "sh", this.group, SYSTEMD, "--user", "--unit=basic.target", "--log-target=console"];
    this.child = spawn("unshare", words, { env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    this.said = "";
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding("utf8").on("data", (text) => (this.said += text));
    this.ended = new Promise((resolve) => this.child.once("exit", resolve));
    await until(() => `systemd runs: ${this.said}`, () => this.systemctl("show", "--property=Version").status === 0);
  }

  systemctl(...words) {
    return spawnSync("systemctl", ["--user", "--no-pager", ...words], { env: this.env, encoding: "utf8" });
  }

  async do(word) {
    const { status, stderr } = this.systemctl(word, "sockeye.service");
    if (status !== 0) throw new Error(`systemctl ${word}: ${stderr}\n${this.said}\n${this.home.ownLog()}`);
  }

  property(name) {
    return this.systemctl("show", "--value", `--property=${name}`, "sockeye.service").stdout.trim();
  }

  async main() {
    return Number(this.property("MainPID"));
  }

  async stored() {
    return Number(this.property("NFileDescriptorStore"));
  }

  async close() {
    if (!this.child) return;
    this.child.kill("SIGKILL");
    await this.ended;
    for (const { pid } of this.home.processes()) process.kill(pid, "SIGKILL");
    await until("all have ended", () => this.home.processes().length === 0);
    await until("its groups are gone", () => spawnSync("unshare", ["--mount", "sh", "-c", CLEAN, "sh", this.group]).status === 0);
  }
}

/** What stands in for it. */
export class StandIn {
  constructor(home) {
    this.home = home;
    this.words = [];
    this.answers = [];
  }

  async open(unit) {
    const [file, socket] = [join(this.home.dir, "sockeye.service"), join(this.home.dir, "notify")];
    writeFileSync(file, unit);
    const python = [join(ROOT, "tests/.venv/bin/python"), "python3"].find((path) => path === "python3" || existsSync(path));
    this.child = spawn(python, [join(ROOT, "tests/python/service_manager.py"), file, socket], { env: this.home.env, stdio: ["pipe", "pipe", "inherit"] });
    this.ended = new Promise((resolve) => this.child.once("exit", resolve));
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      if (line.startsWith("said ")) this.words.push(line.slice(5));
      else if (!line.startsWith("ended ")) this.answers.push(line);
    });
  }

  async ask(word) {
    this.child.stdin.write(`${word}\n`);
    await until(() => `it answers ${word}`, () => this.answers.length > 0);
    return this.answers.shift();
  }

  async do(word) {
    const answer = await this.ask(word);
    if (answer !== "done") throw new Error(`${word}: ${answer}\n${this.home.ownLog()}`);
  }

  async main() {
    return Number((await this.ask("main")).split(" ")[1]);
  }

  async stored() {
    const changes = this.words.filter((word) => word.startsWith("FDSTORE"));
    return changes.reduce((count, word) => (word.startsWith("FDSTORE=1") ? count + 1 : Math.max(0, count - 1)), 0);
  }

  async close() {
    if (!this.child) return;
    this.child.stdin.end();
    await this.ended;
  }
}
