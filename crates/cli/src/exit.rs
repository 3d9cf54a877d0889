//! How the program ends: its exit codes, and the one line that it says of a failure.

use std::io::Write;
use std::process::ExitCode;

/// All went as asked.
pub(crate) const OK: u8 = 0;
/// It could not be done, or did not go on to its end.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;

/// What the help says of them.
pub(crate) const CODES: &str = "\
Exit codes:
  0  ended as asked, by Ctrl-C or SIGTERM
  1  could not start, could not go on, or was cut short by a second Ctrl-C
  2  the command line makes no sense

Environment:
  SOCKEYE_LOG          error, warn (the default), info, debug, or a list such as warn,sockeye_edge=debug
  SOCKEYE_ADAPTER      the backplane, where --adapter is not given: a password in it is not seen by `ps`
  SOCKEYE_NODE_SECRET  with --node-link: what all machines know, at least 16 bytes (`openssl rand -hex 32`)
  SOCKEYE_NODE_LINK_CERT, SOCKEYE_NODE_LINK_KEY, SOCKEYE_NODE_LINK_CA
                       in place of a secret: what --node-link-cert, --node-link-key and --node-link-ca say
  SOCKEYE_RUNTIME_DIR  where the directory for sockets is made [default: XDG_RUNTIME_DIR, else /tmp]";

/// Says in one line what is wrong, and gives the code to end with.
pub(crate) fn complain(code: u8, complaint: &str) -> ExitCode {
    // A message of several lines is somebody else's: this program says one.
    let line = complaint.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "sockeye: {line}");
    ExitCode::from(code)
}

/// Says each line of what is wrong, and gives the code to end with.
pub(crate) fn complain_lines(code: u8, complaint: &str) -> ExitCode {
    for line in complaint.lines() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    ExitCode::from(code)
}

/// Says a line; whoever closed the pipe does not want to read it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The code to end with, after a line that says why it could not be done.
pub(crate) fn conclude(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(OK),
        Err(error) => complain(FAILED, &format!("{error:#}")),
    }
}

/// The code that a command chose, or a line that says why it could not be done.
pub(crate) fn end(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| complain(FAILED, &format!("{error:#}")))
}
