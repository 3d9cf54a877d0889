// The unit of `sockeye startup` as a service manager runs it: a real systemd where one can be run, and a stand-in that keeps to sd_notify(3) everywhere.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Home, kill, until } from "../harness/keeper.mjs";
import { noSystemd, StandIn, Systemd } from "../harness/services.mjs";
import { CLUSTER_ONLY } from "../harness/target.mjs";

for (const [name, Manager, skip] of [
  ["systemd", Systemd, CLUSTER_ONLY || noSystemd()],
  ["a stand-in for systemd", StandIn, CLUSTER_ONLY],
]) {
  describe(name, { skip }, () => {
    let home, manager, pid;
    before(async () => {
      home = new Home();
      manager = new Manager(home);
      // So slow that a command would find nobody, if nobody kept the socket.
      const unit = (await home.ok("startup", "--print")).replace(/^RestartSec=.*$/m, "RestartSec=1s");
      await manager.open(unit);
      home.file("app.js", "setInterval(() => {}, 1000)");
    });
    after(async () => {
      await home?.run("kill");
      await manager?.close();
      home?.abandon();
    });
    const another = (was) => until("another daemon runs", async () => ((now) => now !== 0 && now !== was && now)(await manager.main()));

    test("the service is ready by the daemon's own word, and its socket is kept", async () => {
      await manager.do("start");
      assert.equal(await manager.main(), home.daemon());
      assert.equal(await manager.stored(), 1);
      await home.ok("start", "app.js");
      await home.ok("start", "app.js", "--name", "stopped");
      await home.ok("save");
      await home.ok("stop", "stopped");
      [pid] = await home.pids("app");
    });

    test("a daemon that is killed is started anew: commands wait, apps go on, what was stopped stays so", async () => {
      for (let round = 0; round < 2; round += 1) {
        const was = await manager.main();
        kill(was);
        const asked = await Promise.all([home.run("ping"), home.run("flush", "all"), home.run("ping")]);
        assert.deepEqual(asked.map(({ code, err }) => [code, err]), [[0, ""], [0, ""], [0, ""]]);
        const now = await another(was);
        assert.deepEqual(home.processes().filter((one) => one.words[1] === "daemon").map((one) => one.pid), [now], "no command started one of its own");
      }
      assert.deepEqual(await home.pids("app"), [pid]);
      assert.deepEqual((await home.rowsOf("stopped")).map((row) => row.status), ["stopped"]);
    });

    test("a reload of the unit puts another daemon in its place, and no app notices", async () => {
      await home.ok("start", "app.js", "--name", "young");
      const [young] = await home.rowsOf("young");
      const was = await manager.main();
      await manager.do("reload");
      await until("the program is executed anew", () => readFileSync(`/proc/${was}/environ`, "latin1").includes("SOCKEYE_PASSED_FIRST="));
      await home.ok("flush", "app");
      assert.equal(await manager.main(), was);
      assert.deepEqual(await home.pids("app"), [pid]);
      // A keeper that it started before is its child still, and nobody else reaps it.
      kill(young.keeper);
      await until("another keeper runs, and nothing of the dead one is left", async () => {
        const [row] = await home.rowsOf("young");
        return row.keeper !== young.keeper && row.pid && row.pid !== young.pid && !existsSync(`/proc/${young.keeper}`);
      });
      await home.ok("delete", "young");
    });

    test("a stop of the unit ends all apps, and its start brings back what was saved", async () => {
      await manager.do("stop");
      assert.ok(!home.processes().some((one) => ["daemon", "keep"].includes(one.words[1]) || one.words.some((word) => word.endsWith("app.js"))));
      await manager.do("start");
      await until("both run", async () => (await home.list()).filter((row) => row.status === "online").length === 2);
      assert.notDeepEqual(await home.pids("app"), [pid]);
      await home.ok("ping");
    });

    test("who kills the daemon by its command does not see it come back", async () => {
      await home.ok("kill");
      await until("nothing runs", async () => (await manager.main()) === 0 && !home.daemon());
      assert.deepEqual(home.keepers(), []);
    });

    test("a daemon that a command started gives way to the service, with its apps", async () => {
      await home.ok("start", "app");
      const [before] = await home.pids("app");
      const was = home.daemon();
      await manager.do("start");
      assert.equal(await manager.main(), home.daemon());
      assert.notEqual(home.daemon(), was);
      assert.deepEqual(await home.pids("app"), [before]);
      await home.ok("restart", "app");
      await manager.do("stop");
      assert.deepEqual([home.daemon(), home.keepers()], [undefined, []]);
    });

    test("it says that it lives and that it ends", { skip: Manager === StandIn ? false : "systemd does not show what it heard" }, () => {
      for (const word of ["READY=1", "STOPPING=1", "WATCHDOG=1", "FDSTORE=1 FDNAME=control"]) assert.ok(manager.words.includes(word), word);
    });
  });
}
