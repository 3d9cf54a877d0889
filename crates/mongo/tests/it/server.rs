//! A MongoDB of the test's own (`tests/python/mongo_server.py`), behind a proxy that can cut every connection.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A running server.
pub(crate) struct Server {
    _directory: TempDir,
    process: Child,
    port: u16,
    behind: u16,
    /// The connections through the proxy; and the task that takes them.
    carried: Arc<Mutex<JoinSet<()>>>,
    _proxy: JoinSet<()>,
}

impl Server {
    /// Starts one. `None`, said aloud: the machine has none.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one without change streams, as a server is without a replica set.
    pub(crate) async fn start_alone() -> Option<Self> {
        Self::start_with(&["--standalone"]).await
    }

    async fn start_with(flags: &[&str]) -> Option<Self> {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests");
        let python = tests.join(".venv/bin/python");
        let found = Command::new(&python).args(["-c", "import nx_27017"]).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            println!("skipped: no nx-27017 in tests/.venv (./test installs it)");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("sk-mongo-").tempdir().unwrap();
        let behind = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(python)
            .arg(tests.join("python/mongo_server.py"))
            .arg(behind.to_string())
            .arg(directory.path())
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let ready = async {
            while TcpStream::connect(("127.0.0.1", behind)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("expected the server to start");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let carried = Arc::<Mutex<JoinSet<()>>>::default();
        let mut proxy = JoinSet::new();
        let connections = Arc::clone(&carried);
        proxy.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                connections.lock().unwrap().spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", behind)).await else { return };
                    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                });
            }
        });
        Some(Self { _directory: directory, process, port, behind, carried, _proxy: proxy })
    }

    /// Where it is, with more parameters.
    pub(crate) fn url(&self, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "&" };
        format!("mongodb://127.0.0.1:{}/sockeye?directConnection=true{mark}{query}", self.port)
    }

    /// Where it is behind the proxy.
    pub(crate) fn behind(&self) -> String {
        format!("mongodb://127.0.0.1:{}/sockeye?directConnection=true", self.behind)
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.carried.lock().unwrap().abort_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
