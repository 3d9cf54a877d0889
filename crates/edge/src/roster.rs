//! Who belongs to a group, as one list after another tells: a machine that says what changed. And how a list reads as text.

use std::collections::BTreeMap;
use std::num::NonZero;

use sockeye_proto::Tag;

use crate::config::{Endpoint, Server, ServerState};
use crate::member::MemberId;

/// A server as a list names it; nodes of ours by their tags as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) server: Server,
    pub(crate) tag: Option<Tag>,
}

/// What a list changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is there.
    Joined(MemberId, Listed),
    /// It takes part on other terms, or its state is another.
    Altered(MemberId, Server),
    /// It is not named any more: it keeps the sessions it has, and gets no other.
    Left(MemberId),
}

/// The members of one group by name and address.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: BTreeMap<(String, Endpoint, Option<Tag>), (MemberId, Server)>,
    next: u32,
}

impl Roster {
    /// Draws the name of a member that no list names.
    pub(crate) const fn draw(&mut self) -> MemberId {
        self.next += 1;
        MemberId::new(self.next)
    }

    /// A list replaces the last. Of two servers with one name and address the first counts.
    pub(crate) fn handle_list(&mut self, list: Vec<Listed>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.members);
        for listed in list {
            let key = (listed.server.name.clone(), listed.server.at.clone(), listed.tag);
            if self.members.contains_key(&key) {
                continue;
            }
            let id = match before.remove(&key) {
                Some((id, server)) => {
                    if server != listed.server {
                        changes.push(Change::Altered(id, listed.server.clone()));
                    }
                    id
                }
                None => {
                    let id = self.draw();
                    changes.push(Change::Joined(id, listed.clone()));
                    id
                }
            };
            self.members.insert(key, (id, listed.server));
        }
        changes.extend(before.into_values().map(|(id, _)| Change::Left(id)));
        changes
    }
}

/// Why a line names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct ListError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line of a list of servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The first word.
    #[error("expected an address such as 10.0.0.1:3000 or unix:/run/app.sock, got {0:?}")]
    Address(String),
    /// A number.
    #[error("expected {0} as a number from 1 to {1}, got {2:?}")]
    Number(&'static str, u32, String),
    /// A word that means nothing here.
    #[error("expected weight=N, sessions_max=N, route=NAME, drain or maintenance, got {0:?}")]
    Word(String),
}

/// Reads a list: a server a line, `ADDRESS [weight=N] [sessions_max=N] [route=NAME] [drain|maintenance]`; `#` begins a comment.
///
/// # Errors
///
/// Of the first line that names none.
pub fn parse_servers(text: &str) -> Result<Vec<Server>, ListError> {
    let lines =
        text.lines().enumerate().map(|(n, line)| (n + 1, line.split('#').next().unwrap_or("").trim()));
    let mut servers = Vec::new();
    for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
        servers.push(parse_server(text).map_err(|fault| ListError { line, fault })?);
    }
    Ok(servers)
}

fn parse_server(text: &str) -> Result<Server, LineFault> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or("");
    let at = match first.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Endpoint::Unix(path.into()),
        Some(_) => return Err(LineFault::Address(first.to_owned())),
        None => Endpoint::Tcp(first.parse().map_err(|_| LineFault::Address(first.to_owned()))?),
    };
    let mut server = Server {
        name: at.to_string(),
        at,
        weight: NonZero::<u16>::MIN,
        sessions_max: None,
        tag: None,
        state: ServerState::Up,
    };
    for word in words {
        match word.split_once('=') {
            Some(("weight", number)) => {
                let fault = || LineFault::Number("weight", u16::MAX.into(), number.to_owned());
                server.weight = number.parse().map_err(|_| fault())?;
            }
            Some(("sessions_max", number)) => {
                let fault = || LineFault::Number("sessions_max", u32::MAX, number.to_owned());
                server.sessions_max = Some(number.parse().map_err(|_| fault())?);
            }
            Some(("route" | "name", name)) if crate::cookie::can_name(name) => {
                name.clone_into(&mut server.name)
            }
            None if word == "drain" => server.state = ServerState::Drain,
            None if word == "maintenance" => server.state = ServerState::Maintenance,
            Some(_) | None => return Err(LineFault::Word(word.to_owned())),
        }
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_who_came_changed_and_left() {
        let mut roster = Roster::default();
        let id = MemberId::new;
        let listed = |text: &str| Listed { server: server(text), tag: None };
        let (a, b, c) = ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1");
        check(&mut roster, &[a, b], &[Change::Joined(id(1), listed(a)), Change::Joined(id(2), listed(b))]);
        check(&mut roster, &[b, a], &[]);
        check(&mut roster, &[a, a, b], &[]);
        let heavy = "10.0.0.2:1 weight=3";
        check(&mut roster, &[a, heavy], &[Change::Altered(id(2), server(heavy))]);
        check(&mut roster, &[c, heavy], &[Change::Joined(id(3), listed(c)), Change::Left(id(1))]);
        // Who comes back is somebody else: its sessions have gone.
        check(
            &mut roster,
            &[a],
            &[Change::Joined(id(4), listed(a)), Change::Left(id(2)), Change::Left(id(3))],
        );
        check(&mut roster, &[], &[Change::Left(id(4))]);
    }

    #[test]
    fn a_list_reads_as_the_rows_say() {
        let text = "# ours\n10.0.0.1:3000\n\n  [::1]:80 weight=2 route=app02 drain # goes\nunix:/run/a.sock sessions_max=5 maintenance\n";
        let servers = parse_servers(text).unwrap();
        let words: Vec<_> = servers
            .iter()
            .map(|s| format!("{} {} {} {:?} {:?}", s.name, s.at, s.weight, s.sessions_max, s.state))
            .collect();
        assert_eq!(
            words,
            [
                "10.0.0.1:3000 10.0.0.1:3000 1 None Up",
                "app02 [::1]:80 2 None Drain",
                "unix:/run/a.sock unix:/run/a.sock 1 Some(5) Maintenance",
            ]
        );
        for (text, error) in [
            (
                "localhost:1",
                "line 1: expected an address such as 10.0.0.1:3000 or unix:/run/app.sock, got \"localhost:1\"",
            ),
            (
                "\nunix:a",
                "line 2: expected an address such as 10.0.0.1:3000 or unix:/run/app.sock, got \"unix:a\"",
            ),
            ("10.0.0.1:1 weight=0", "line 1: expected weight as a number from 1 to 65535, got \"0\""),
            (
                "10.0.0.1:1 sessions_max=x",
                "line 1: expected sessions_max as a number from 1 to 4294967295, got \"x\"",
            ),
            (
                "10.0.0.1:1 up",
                "line 1: expected weight=N, sessions_max=N, route=NAME, drain or maintenance, got \"up\"",
            ),
            (
                "10.0.0.1:1 route=a~b",
                "line 1: expected weight=N, sessions_max=N, route=NAME, drain or maintenance, got \"route=a~b\"",
            ),
        ] {
            assert_eq!(parse_servers(text).unwrap_err().to_string(), error);
        }
    }

    fn check(roster: &mut Roster, list: &[&str], expected: &[Change]) {
        let list = list.iter().map(|text| Listed { server: server(text), tag: None }).collect();
        assert_eq!(roster.handle_list(list), expected);
    }

    fn server(text: &str) -> Server {
        parse_server(text).unwrap()
    }
}
