// What /proc tells about processes: children, command lines, listening ports.

import { readFileSync, readdirSync, readlinkSync } from "node:fs";

/** True while the process runs; a zombie does not. */
export function alive(pid) {
  const stat = read(`/proc/${pid}/stat`);
  return stat !== "" && !/\) [ZX] /.test(stat);
}

/** The living children of a process. */
export function childrenOf(parent) {
  return pids().filter((pid) => Number(/\) . (\d+) /.exec(read(`/proc/${pid}/stat`))?.[1]) === parent && alive(pid));
}

export function commandLine(pid) {
  return read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
}

/** The processes whose environment holds this text. */
export function withEnvironment(text) {
  return pids().filter((pid) => pid !== process.pid && alive(pid) && read(`/proc/${pid}/environ`).includes(text));
}

/** The TCP ports that a process listens on, ascending. */
export function listeningPorts(pid) {
  const inodes = new Set();
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode) inodes.add(inode);
    }
  } catch {
    return [];
  }
  const LISTEN = "0A";
  const rows = ["tcp", "tcp6"].flatMap((table) => read(`/proc/net/${table}`).split("\n").slice(1));
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => row[3] === LISTEN && inodes.has(row[9]))
    .map((row) => parseInt(row[1].split(":")[1], 16))
    .sort((a, b) => a - b);
}

function pids() {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function link(path) {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
