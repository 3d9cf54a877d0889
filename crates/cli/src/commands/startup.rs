//! `sockeye startup` and `sockeye unstartup`: a unit of systemd that brings the saved list back at each boot. For a user, or with root's rights for the system.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use rustix::process::geteuid;
use serde_json::json;

use crate::apps::{Shape, THRIFT, rows, say, say_json};
use crate::exit;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Write the unit to standard output alone, and change nothing
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    shape: Shape,
}

const NAME: &str = "sockeye.service";

pub(crate) fn startup(flags: &Flags) -> anyhow::Result<ExitCode> {
    let unit = unit()?;
    if flags.print {
        match flags.shape.json {
            true => say_json(&json!({ "unit": path()?, "text": unit })),
            false => say(unit.trim_end()),
        }
        return Ok(ExitCode::from(exit::OK));
    }
    let path = path()?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    std::fs::write(&path, unit).with_context(|| format!("cannot write {}", path.display()))?;
    let enabled = systemctl(&["daemon-reload"]).and_then(|()| systemctl(&["enable", NAME]));
    Ok(tell(flags, &path, "written", enabled.err().map(|error| error.to_string())))
}

pub(crate) fn unstartup(flags: &Flags) -> anyhow::Result<ExitCode> {
    let path = path()?;
    if !path.exists() {
        bail!("there is no {}: sockeye startup writes it", path.display());
    }
    let disabled = systemctl(&["disable", NAME]);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    let _ = systemctl(&["daemon-reload"]);
    Ok(tell(flags, &path, "removed", disabled.err().map(|error| error.to_string())))
}

/// Says what was done. Where systemd was not told, the half that counts at the next boot was not.
fn tell(flags: &Flags, path: &std::path::Path, what: &str, trouble: Option<String>) -> ExitCode {
    let code = ExitCode::from(if trouble.is_some() { exit::FAILED } else { exit::OK });
    if flags.shape.json {
        say_json(&json!({ "unit": path, "done": what, "trouble": trouble }));
        return code;
    }
    say(&format!("{what} {}", path.display()));
    match trouble {
        Some(trouble) => {
            exit::complain(exit::FAILED, &format!("systemd was not told: {trouble}"));
        }
        None if what == "written" && !geteuid().is_root() => {
            say("at each log-in; for each boot: loginctl enable-linger\nthen: sockeye save");
        }
        None if what == "written" => say("at each boot; then: sockeye save"),
        None => {}
    }
    code
}

/// What a stop, a crash and a reload of the unit mean for the apps, which run in its group:
///
/// - a stop ends all apps, as `sockeye kill` does (`ExecStop`);
/// - a daemon that dies is started anew and takes the keepers on, which nobody kills with it (`KillMode=process`); commands wait meanwhile, since systemd keeps its socket (`FileDescriptorStoreMax`);
/// - a reload does so on purpose: the file of the program is read again;
/// - a worker that the kernel kills for its memory is the keeper's business (`OOMPolicy=continue`).
fn unit() -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let program = quoted(program.to_str().context("the path of this program is no text")?);
    let variable = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
    let mut variables: Vec<_> =
        ["PATH", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"].iter().filter_map(|name| variable(name)).collect();
    variables.push((THRIFT.0.to_owned(), THRIFT.1.to_owned()));
    let mut user = String::new();
    if geteuid().is_root() {
        user = format!("User={}\n", rows::user());
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        variables.push(("HOME".to_owned(), home));
    }
    let variables: String = variables
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"))))
        .collect();
    let wanted = if geteuid().is_root() { "multi-user.target" } else { "default.target" };
    Ok(format!(
        "[Unit]\nDescription=Sockeye: the apps that sockeye save wrote down\nAfter=network.target\n\n\
         [Service]\nType=notify\nNotifyAccess=main\n{user}{variables}\
         ExecStart={program} daemon --resurrect\nExecStop={program} kill\nExecReload=kill -HUP $MAINPID\n\
         KillMode=process\nFileDescriptorStoreMax=1\nRestart=on-failure\nRestartSec=200ms\nTimeoutStartSec=infinity\n\
         OOMPolicy=continue\nTasksMax=infinity\nLimitNOFILE=infinity\n\n[Install]\nWantedBy={wanted}\n"
    ))
}

/// A word of a unit: systemd.syntax(7), "Quoting"; and systemd.unit(5), "Specifiers".
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn path() -> anyhow::Result<PathBuf> {
    if geteuid().is_root() {
        return Ok(PathBuf::from("/etc/systemd/system").join(NAME));
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = config.or_else(home).ok_or_else(|| anyhow!("HOME is not set"))?;
    Ok(config.join("systemd/user").join(NAME))
}

fn systemctl(words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("systemctl");
    if !geteuid().is_root() {
        command.arg("--user");
    }
    let output = command.args(words).output().context("cannot run systemctl")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_unit_means_itself() {
        for (word, expected) in [
            ("/usr/bin/sockeye", r#""/usr/bin/sockeye""#),
            ("PATH=/a b:/c", r#""PATH=/a b:/c""#),
            (r#"A="%h\x"#, r#""A=\"%%h\\x""#),
            ("A=1\n[Unit]", r#""A=1\n[Unit]""#),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
