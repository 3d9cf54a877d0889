//! A PostgreSQL of the test's own: in a directory that goes away, on a free port, stopped also when the test fails.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A running PostgreSQL.
pub(crate) struct Server {
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    process: Child,
}

impl Server {
    /// Starts one. `None`, said aloud: the machine has none.
    pub(crate) async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: no postgres");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("sk-postgres-").tempdir().unwrap();
        if is_root() {
            // It refuses to run as root.
            let user = Command::new("chown").arg("postgres:").arg(directory.path()).status().unwrap();
            assert!(user.success(), "expected a user postgres, which Debian's package makes");
        }
        let data = directory.path().join("data");
        let made = as_user(&programs.join("initdb"))
            .args([
                "--no-sync",
                "--username=app",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "expected initdb to make a database");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = spawn(&programs, directory.path(), port);
        let server = Self { directory, programs, port, process };
        server.wait().await;
        Some(server)
    }

    /// Has it speak TLS, and with other machines nothing else, from its next start on.
    pub(crate) fn set_tls(&self, cert: &str, key: &str) {
        let data = self.directory.path().join("data");
        for (name, text) in [("server.crt", cert), ("server.key", key)] {
            fs::write(data.join(name), text).unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        if is_root() {
            let files = ["server.crt", "server.key"].map(|name| data.join(name));
            assert!(Command::new("chown").arg("postgres:").args(files).status().unwrap().success());
        }
        let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        settings.push_str("\nssl = on\n");
        fs::write(data.join("postgresql.conf"), settings).unwrap();
    }

    /// A directory of its own.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where it is, with what follows the question mark.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/postgres?{query}", self.port)
    }

    /// Stops it the hard way, as a crash does, and starts it again.
    pub(crate) async fn restart(&self) {
        self.stop();
        let data = self.directory.path().join("data");
        let started = as_user(&self.programs.join("pg_ctl"))
            .args(["start", "--silent", "-w", "-D"])
            .arg(data)
            .arg("-o")
            .arg(options(self.directory.path(), self.port).join(" "))
            .arg("-l")
            .arg(self.directory.path().join("log"))
            .status()
            .unwrap();
        assert!(started.success(), "expected it to start again");
        self.wait().await;
    }

    /// A connection past the adapter.
    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        self.try_client().await.unwrap()
    }

    async fn try_client(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(""), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn wait(&self) {
        let ready = async {
            while self.try_client().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("expected PostgreSQL to start");
    }

    fn stop(&self) {
        let data = self.directory.path().join("data");
        let stopped = as_user(&self.programs.join("pg_ctl"))
            .args(["stop", "--silent", "-w", "-m", "immediate", "-D"])
            .arg(data)
            .stderr(Stdio::null())
            .status();
        drop(stopped);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(programs: &Path, directory: &Path, port: u16) -> Child {
    let log = fs::File::create(directory.join("first-log")).unwrap();
    as_user(&programs.join("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .args(options(directory, port))
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap()
}

fn options(directory: &Path, port: u16) -> Vec<String> {
    let directory = directory.display();
    let settings = ["fsync=off", "max_connections=300", "listen_addresses=127.0.0.1", "shared_buffers=16MB"];
    let mut words = vec!["-p".to_owned(), port.to_string(), "-k".to_owned(), directory.to_string()];
    words.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
    words
}

/// A command that ends with this thread, as a user that is not root.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    if program.ends_with("postgres") {
        command.args(["--pdeathsig", "QUIT"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|path| path.join("postgres"));
    // Debian keeps them off the path.
    let of_debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_debian = of_debian.map(|version| version.path().join("bin/postgres"));
    let real = on_path.chain(of_debian).find_map(|program| program.canonicalize().ok())?;
    real.parent().map(Path::to_path_buf)
}
