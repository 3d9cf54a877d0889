//! Members of one process that meet in a temporary directory, over real sockets.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_cluster::mesh::frame_header;
use sockeye_cluster::node::{Output, Question};
use sockeye_cluster::{Flags, Packet, Peer, Selector};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::*;

mod interest;

#[tokio::test]
async fn members_that_come_one_after_the_other_find_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = Vec::new();
    for name in ["aaaaaa", "zzzzzz", "mmmmmm", "------"] {
        let member = Member::join(&dir, name);
        member.mesh.settled().await;
        members.push(member);
    }
    check_all_know_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_come_at_once_find_each_other() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let names = ["aaaaaa", "bbbbbb", "cccccc", "dddddd"];
        let mut members: Vec<_> = names.iter().map(|name| Member::join(&dir, name)).collect();
        for member in &members {
            member.mesh.settled().await;
        }
        check_all_know_all(&mut members).await;
    }
}

#[tokio::test]
async fn a_lone_member_is_settled_at_once_and_its_socket_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let member = Member::join(&dir, "aaaaaa");
    member.mesh.settled().await;
    assert!(!member.mesh.has_peers());
    assert_eq!(member.mesh.owner(tag("aaaaaa")), None);
    let mode = std::fs::metadata(dir.path().join("aaaaaa.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(files(&dir), ["aaaaaa.sock"]);
    member.mesh.publish(&"/".into(), text("nobody"));
    assert_eq!(member.mesh.stats().node.sent, 0);
}

#[tokio::test]
async fn broadcasts_go_both_ways_with_text_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    let binary = Message::Broadcast {
        selector: Selector::to("kitchen").and_except("cook"),
        flags: Flags { volatile: true, ..Flags::default() },
        packet: Packet::binary(
            r#"["b",{"_placeholder":true,"num":0}]"#,
            vec![Bytes::from_static(&[0, 1, 254, 255])],
        ),
        request_id: None,
    };
    for message in [text(r#"["hello",1]"#), binary] {
        for (from, to) in [(0, 1), (1, 0)] {
            members[from].mesh.publish(&"/admin".into(), message.clone());
            let Output::Deliver { nsp, selector, flags, packet } = members[to].hears().await else {
                panic!()
            };
            let heard = Message::Broadcast { selector, flags, packet, request_id: None };
            assert_eq!((nsp.as_str(), heard), ("/admin", message.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_of_one_member_come_in_order() {
    const COUNT: usize = 5000;
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    let mesh = members[0].mesh.clone();
    let publisher = std::thread::spawn(move || {
        for number in 0..COUNT {
            mesh.publish(&"/".into(), text(&format!(r#"["n",{number}]"#)));
        }
    });
    for number in 0..COUNT {
        assert_eq!(members[1].hears_event().await, format!(r#"["n",{number}]"#));
    }
    publisher.join().unwrap();
}

#[tokio::test]
async fn a_member_that_ends_without_goodbye_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    drop(members.remove(1));
    assert!(
        matches!(members[0].hears().await, Output::PeerLeft(Peer { tag: Some(gone), .. }) if gone == tag("bbbbbb"))
    );
    assert_eq!(members[0].mesh.owner(tag("bbbbbb")), None);
    assert!(!members[0].mesh.has_peers());
    assert_eq!(files(&dir), ["aaaaaa.sock"]);
}

#[tokio::test]
async fn a_member_that_leaves_sends_what_it_has_published_and_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    let large = format!(r#"["last","{}"]"#, "x".repeat(8 << 20));
    members[1].mesh.publish(&"/".into(), text(&large));
    members[1].mesh.leave().await;
    members[1].mesh.leave().await;
    members[1].mesh.publish(&"/".into(), text(r#"["too late"]"#));
    assert_eq!(files(&dir), ["aaaaaa.sock"]);
    assert_eq!(members[0].hears_event().await, large);
    assert!(matches!(members[0].hears().await, Output::PeerLeft(_)));

    members[1] = Member::join(&dir, "bbbbbb");
    members[1].mesh.settled().await;
    assert!(matches!(members[0].hears().await, Output::PeerJoined(_)));
    assert_eq!(members[0].mesh.owner(tag("bbbbbb")), Some(door_of("bbbbbb")));
}

#[tokio::test]
async fn a_newcomer_clears_away_sockets_of_the_dead() {
    let dir = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(dir.path().join("dead--.sock")).unwrap());
    drop(UnixListener::bind(dir.path().join("aaaaaa.sock")).unwrap());
    let member = Member::join(&dir, "aaaaaa");
    member.mesh.settled().await;
    let _other = Member::join(&dir, "bbbbbb");
    let start = Instant::now();
    while files(&dir) != ["aaaaaa.sock", "bbbbbb.sock"] {
        assert!(start.elapsed() < PATIENCE, "{:?}", files(&dir));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_tag_of_a_living_member_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _member = Member::join(&dir, "aaaaaa");
    let error = Mesh::join(dir.path(), tag("aaaaaa"), None, None, false, Arc::new(|_| ())).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(files(&dir), ["aaaaaa.sock"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_read_is_cut_off_and_delays_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    let (told, mut reports) = mpsc::channel(100);
    members[0].mesh.set_reporter(Box::new(move |missed| {
        let _ = told.try_send(missed);
    }));
    let (listener, dialled, stuck) = stranger(&dir, "stuck-");
    assert!(matches!(members[0].hears().await, Output::PeerJoined(_)));
    let message = format!(r#"["x","{}"]"#, "x".repeat(1 << 20));
    for _ in 0..20 {
        members[0].mesh.publish(&"/".into(), text(&message));
        while !matches!(members[1].hears().await, Output::Deliver { .. }) {}
    }
    let stats = members[0].mesh.stats();
    assert_eq!(stats.overflows, 1);
    // What waited, and the one for which there was no room.
    assert!(stats.dropped > 1, "{stats:?}");
    let report = tokio::time::timeout(PATIENCE, reports.recv()).await.unwrap();
    assert!(
        matches!(report, Some(Missed::There(who, lost)) if who == tag("stuck-") && lost > 1),
        "{report:?}"
    );

    // It is a member as long as its own connection is there, and is dialled anew.
    assert!(members[0].mesh.has_peers());
    drop(stuck);
    let mut again = tokio::task::spawn_blocking(move || listener.accept().unwrap().0).await.unwrap();
    let mut start = [0; 5];
    again.read_exact(&mut start).unwrap();
    assert_eq!(start[4], b'{');
    drop(dialled);
}

#[tokio::test]
async fn a_connection_that_opens_with_nonsense_is_closed_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    for nonsense in [&b"\0\0\0\x02{}"[..], b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = UnixStream::connect(dir.path().join("aaaaaa.sock")).unwrap();
        stream.write_all(nonsense).unwrap();
        let closed = tokio::task::spawn_blocking(move || stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "{nonsense:?}");
    }
    members[1].mesh.publish(&"/".into(), text("[1]"));
    assert_eq!(members[0].hears_event().await, "[1]");
}

#[tokio::test]
async fn a_sink_that_panics_ends_that_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let fragile = Arc::new(|output| assert!(!matches!(output, Output::Deliver { .. }), "as the test wants"));
    let http = Some("/http/aaaaaa.sock".into());
    let fragile = Mesh::join(dir.path(), tag("aaaaaa"), http, None, false, fragile).unwrap();
    let member = Member::join(&dir, "bbbbbb");
    member.mesh.settled().await;
    member.mesh.publish(&"/".into(), text("[1]"));
    let start = Instant::now();
    while fragile.stats().mesh.joined < 2 || !fragile.has_peers() {
        assert!(start.elapsed() < PATIENCE, "{:?}", fragile.stats());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn members_answer_each_other_and_who_does_not_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = pair(&dir).await;
    members.iter().for_each(Member::answers);
    let (selector, flags) = (Selector::all(), Flags::default());
    let packet = || Packet::text(r#"["e"]"#);
    let requests = || {
        [
            (Request::FetchSockets { selector: selector.clone(), flags: flags.clone() }, 2),
            (Request::Broadcast { selector: selector.clone(), flags: flags.clone(), packet: packet() }, 2),
            (Request::ServerSideEmit { packet: packet(), timeout: None }, 1),
        ]
    };
    for (request, answers) in requests() {
        let told = members[0].mesh.request(&"/".into(), request).unwrap();
        let outcome = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
        assert_eq!((outcome.answers.len(), outcome.missing.len()), (answers, 0), "{outcome:?}");
    }
    // Bytes, too.
    let binary =
        Packet::binary(r#"["b",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(&[0, 255])]);
    let request = Request::Broadcast { selector: selector.clone(), flags: flags.clone(), packet: binary };
    let told = members[1].mesh.request(&"/".into(), request).unwrap();
    assert!(tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap().is_complete());

    // One that is there but mute, and then goes.
    let mute = Member::join(&dir, "cccccc");
    assert!(matches!(members[0].hears().await, Output::PeerJoined(_)));
    let waiting: Vec<_> = requests().map(|(request, _)| members[0].mesh.request(&"/".into(), request)).into();
    drop(mute);
    for told in waiting {
        let outcome = tokio::time::timeout(PATIENCE, told.unwrap()).await.unwrap().unwrap();
        assert_eq!(outcome.missing.len(), 1, "{outcome:?}");
        assert_eq!(outcome.missing[0].why, sockeye_cluster::Why::Gone);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_answers_ends_with_its_time_or_with_the_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let alone = Member::join(&dir, "aaaaaa");
    let fetch = || Request::FetchSockets { selector: Selector::all(), flags: Flags::default() };
    let told = alone.mesh.request(&"/".into(), fetch()).unwrap();
    assert_eq!(told.await.unwrap().missing[0].why, sockeye_cluster::Why::Late);
    let told = alone.mesh.request(&"/".into(), fetch()).unwrap();
    alone.mesh.leave().await;
    assert_eq!(told.await.unwrap().missing[0].why, sockeye_cluster::Why::Closed);
}

#[tokio::test]
async fn a_node_script_joins_and_broadcasts_both_ways() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mesh-node.mjs");
    if !script.exists() {
        return eprintln!("skipped: no {}", script.display());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut member = Member::join(&dir, "aaaaaa");
    let node = tokio::process::Command::new("node")
        .args([&script, dir.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut node = match node {
        Ok(node) => node,
        Err(error) => return eprintln!("skipped: no node ({error})"),
    };
    let mut stdin = node.stdin.take().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("joined"));
    assert!(matches!(member.hears().await, Output::PeerJoined(_)));
    member.mesh.publish(&"/".into(), text(r#"["broadcast",{"n":1}]"#));
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(r#"heard ["broadcast",{"n":1}]"#));
    stdin.write_all(b"emit [\"back\",2]\n").await.unwrap();
    assert_eq!(member.hears_event().await, r#"["back",2]"#);
    drop(stdin);
    assert!(matches!(member.hears().await, Output::PeerLeft(_)));
    assert!(node.wait().await.unwrap().success());
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Member {
    tag: Tag,
    mesh: Mesh,
    heard: mpsc::Receiver<Output>,
}

impl Member {
    fn join(dir: &TempDir, name: &str) -> Self {
        Self::join_with(dir, name, false)
    }

    fn join_with(dir: &TempDir, name: &str, selects: bool) -> Self {
        let (sink, heard) = mpsc::channel(10_000);
        let sink: Sink = Arc::new(move |output| {
            // At a test's end nobody listens any more.
            let _ = sink.try_send(output);
        });
        let http = PathBuf::from(format!("/http/{name}.sock"));
        Self {
            tag: tag(name),
            mesh: Mesh::join(dir.path(), tag(name), Some(http), None, selects, sink).unwrap(),
            heard,
        }
    }

    /// Answers each question at once, with one client that acks.
    fn answers(&self) {
        let weak = Arc::downgrade(&self.mesh.own);
        self.mesh.set_answerer(Arc::new(move |question| {
            let Some(own) = weak.upgrade() else { return };
            let value = || Packet::text("[]");
            Mesh { own }.answer(|node| match question {
                Question::DeliverWithAck { asker, .. } => {
                    node.handle_client_count(&asker, 1);
                    node.handle_ack(&asker, value());
                }
                Question::FetchSockets { asker, .. } => node.handle_sockets(asker, value()),
                Question::ServerSideEmit { asker, .. } => node.handle_value(asker.unwrap(), value()),
            });
        }));
    }

    /// What is said, but for what is said to nobody.
    async fn hears(&mut self) -> Output {
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            let output = heard.expect("nothing was heard").unwrap();
            if !matches!(&output, Output::Deliver { nsp, .. } if nsp == "/nobody") {
                return output;
            }
        }
    }

    async fn hears_event(&mut self) -> String {
        match self.hears().await {
            Output::Deliver { packet, .. } => String::from_utf8(packet.data.into()).unwrap(),
            Output::PeerJoined(peer) | Output::PeerLeft(peer) => panic!("heard of {peer:?}"),
            Output::Send { .. }
            | Output::Publish(_)
            | Output::Join { .. }
            | Output::Leave { .. }
            | Output::Disconnect { .. } => {
                panic!("heard no event")
            }
        }
    }
}

/// Two members that know each other and have heard so.
async fn pair(dir: &TempDir) -> Vec<Member> {
    let mut members = vec![Member::join(dir, "aaaaaa"), Member::join(dir, "bbbbbb")];
    for member in &mut members {
        member.mesh.settled().await;
        assert!(matches!(member.hears().await, Output::PeerJoined(_)));
    }
    members
}

/// A member that greets and is dialled back, but never reads: its listener, the connection it dialled and the one it accepted.
fn stranger(dir: &TempDir, name: &str) -> (UnixListener, UnixStream, UnixStream) {
    let listener = UnixListener::bind(dir.path().join(format!("{name}.sock"))).unwrap();
    let mut dialled = UnixStream::connect(dir.path().join("aaaaaa.sock")).unwrap();
    let hello = format!(r#"{{"mesh":1,"tag":"{name}","uid":"{name}"}}"#);
    dialled.write_all(&frame_header(hello.len()).unwrap()).unwrap();
    dialled.write_all(hello.as_bytes()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (listener, dialled, accepted)
}

async fn check_all_know_all(members: &mut [Member]) {
    let tags: Vec<_> = members.iter().map(|member| member.tag).collect();
    for member in members {
        let mut known = Vec::new();
        while known.len() + 1 < tags.len() {
            let Output::PeerJoined(peer) = member.hears().await else { panic!("heard something else") };
            known.extend(peer.tag);
        }
        known.push(member.tag);
        known.sort();
        let mut all = tags.clone();
        all.sort();
        assert_eq!(known, all);
        for other in all.iter().filter(|other| **other != member.tag) {
            assert_eq!(member.mesh.owner(*other), Some(door_of(&other.to_string())));
        }
    }
}

fn files(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text(event: &str) -> Message {
    Message::Broadcast {
        selector: Selector::all(),
        flags: Flags::default(),
        packet: Packet::text(event.to_owned()),
        request_id: None,
    }
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn door_of(name: &str) -> Address {
    Address::Unix(format!("/http/{name}.sock").into())
}
