//! A real nats-server on a free port, with a directory of its own; gone with the test, however it ends.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The one flag that is ours: without it a server has JetStream.
const WITHOUT_JETSTREAM: &str = "--without-jetstream";

/// A server that was started for a test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    flags: Vec<String>,
    dir: TempDir,
}

impl Server {
    /// Starts one; `None`, said aloud: there is none on this machine.
    pub(crate) fn start(flags: &[&str]) -> Option<Self> {
        let program = program()?;
        let dir = tempfile::tempdir().expect("a directory for the server");
        let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        // Somebody else may take the port in between; then another one.
        for _ in 0..10 {
            let port = free_port();
            let mut child = spawn(&program, port, &flags, dir.path());
            if answers(&mut child, port) {
                return Some(Self { child, port, flags, dir });
            }
        }
        panic!("expected nats-server to start, see {}", log(dir.path()))
    }

    /// Kills it and starts it again, on the same port, with what it has stored.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let program = program().expect("it was there");
        self.child = spawn(&program, self.port, &self.flags, self.dir.path());
        assert!(
            answers(&mut self.child, self.port),
            "expected it to start again, see {}",
            log(self.dir.path())
        );
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Its address, with these parameters.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("nats://127.0.0.1:{}/{rest}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no nats-server");
    }
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(program: &Path, port: u16, flags: &[String], dir: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    if !flags.iter().any(|flag| flag == WITHOUT_JETSTREAM) {
        command.arg("-js").arg("-sd").arg(dir.join("store"));
    }
    command
        .arg("-l")
        .arg(dir.join("log"))
        .args(flags.iter().filter(|flag| *flag != WITHOUT_JETSTREAM))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server can be run")
}

/// Whether it takes connections before it ends, or 20 s have gone.
fn answers(child: &mut Child, port: u16) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if child.try_wait().expect("it is a child").is_some() {
            return false;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}
