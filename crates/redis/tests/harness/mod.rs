//! A redis-server of the test's own: on a free port, without files, gone when the test is over.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod cluster;
pub(crate) mod node;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running redis-server.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    dir: TempDir,
    args: Vec<String>,
    child: Mutex<Child>,
}

impl RedisServer {
    /// Starts one; `None`, said aloud, where there is none on this machine.
    pub(crate) fn start(args: &[&str]) -> Option<Self> {
        if !installed() {
            println!("skipped: no redis (apt install redis-server)");
            return None;
        }
        // A free port may be taken by somebody else before it is used.
        for _ in 0..20 {
            let dir = TempDir::new().expect("a directory");
            let port = free_port();
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let mut child = spawn(port, &dir, &args);
            if answers(port, &mut child) {
                return Some(Self { port, dir, args, child: Mutex::new(child) });
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts a sentinel that watches a master.
    pub(crate) fn start_sentinel(master: u16) -> Self {
        let dir = TempDir::new().expect("a directory");
        let port = free_port();
        let file = dir.path().join("sentinel.conf");
        let conf = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        );
        std::fs::write(&file, conf).expect("it can be written");
        let args = vec![file.to_string_lossy().into_owned(), "--sentinel".to_owned()];
        let mut child = spawn(port, &dir, &args);
        assert!(answers(port, &mut child), "the sentinel starts");
        Self { port, dir, args, child: Mutex::new(child) }
    }

    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().expect("nobody panics under it");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    pub(crate) fn start_again(&self) {
        let mut child = spawn(self.port, &self.dir, &self.args);
        assert!(answers(self.port, &mut child), "redis-server starts again");
        *self.child.lock().expect("nobody panics under it") = child;
    }

    /// Sends a signal by its name: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("nobody panics under it").id();
        let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// What `redis-cli` says to a command.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("redis://127.0.0.1:{}{rest}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn installed() -> bool {
    Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(port: u16, dir: &TempDir, args: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    if args.iter().any(|arg| arg == "--sentinel") {
        command.args(args);
    } else {
        command.args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--dir",
        ]);
        command.arg(dir.path()).args(args.iter().map(|arg| arg.replace("{port}", &port.to_string())));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server runs")
}

/// Whether it takes connections, as long as it lives.
fn answers(port: u16, child: &mut Child) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return child.try_wait().expect("it can be asked").is_none();
        }
        if child.try_wait().expect("it can be asked").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
