//! A member is sent what concerns somebody there, and nothing that follows a join is kept from it.

use std::sync::OnceLock;

use sockeye_cluster::Room;
use sockeye_proto::sid::Sid;

use super::*;

#[tokio::test]
async fn a_room_is_carried_to_the_members_that_have_somebody_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = crowd(&dir, &["aaaaaa", "bbbbbb", "cccccc"]).await;
    let sent = members[0].mesh.stats().node.sent;
    members[0].mesh.publish(&"/".into(), to("kitchen", 1));
    assert_eq!(members[0].mesh.stats().node.sent, sent, "nobody is in the room, so nothing is written");
    members[1].board().enter(&"/".into(), Some("kitchen"));
    members[0].mesh.publish(&"/".into(), to("kitchen", 2));
    members[0].mesh.publish(&"/other".into(), to("kitchen", 3));
    members[0].mesh.publish(&"/".into(), to("cellar", 4));
    members[1].board().leave(&"/".into(), Some("kitchen"));
    members[0].mesh.publish(&"/".into(), to("kitchen", 5));
    // All hear what has no room where somebody is in the namespace.
    for member in &members {
        member.board().enter(&"/".into(), None);
    }
    members[0].mesh.publish(&"/".into(), text("[6]"));
    assert_eq!(members[1].hears_event().await, "[2]");
    assert_eq!(members[1].hears_event().await, "[6]");
    assert_eq!(members[2].hears_event().await, "[6]");
}

#[tokio::test]
async fn what_is_said_to_one_socket_goes_to_its_member_or_where_it_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = crowd(&dir, &["aaaaaa", "bbbbbb", "cccccc"]).await;
    let id = Sid::new(tag("bbbbbb"), 7);
    members[0].mesh.publish(&"/".into(), to(id.as_str(), 1));
    members[2].board().come(&"/".into(), id);
    members[0].mesh.publish(&"/".into(), to(id.as_str(), 2));
    members[2].board().go(&"/".into(), id);
    members[0].mesh.publish(&"/".into(), to(id.as_str(), 3));
    for member in &members[1..] {
        member.board().enter(&"/".into(), Some("end"));
    }
    members[0].mesh.publish(&"/".into(), to("end", 4));
    for expected in 1..=4 {
        assert_eq!(members[1].hears_event().await, format!("[{expected}]"));
    }
    for expected in [2, 4] {
        assert_eq!(members[2].hears_event().await, format!("[{expected}]"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_join_from_afar_is_not_kept_back() {
    let dir = tempfile::tempdir().unwrap();
    let members = crowd(&dir, &["aaaaaa"]).await;
    // As a server does it: the join is done, and shown, when the sink returns.
    let (heard, mut hears) = mpsc::channel(1000);
    let shown = Arc::new(OnceLock::<Arc<Board>>::new());
    let board = Arc::clone(&shown);
    let sink: Sink = Arc::new(move |output| {
        if let Output::Join { rooms, .. } = output {
            for room in &rooms {
                board.get().unwrap().enter(&"/".into(), Some(room));
            }
        } else if let Output::Deliver { nsp, packet, .. } = output
            && nsp != "/nobody"
        {
            heard.try_send(packet).unwrap();
        }
    });
    let http = PathBuf::from("/http/bbbbbb.sock");
    let far = Mesh::join(dir.path(), tag("bbbbbb"), Some(http), None, true, sink).unwrap();
    shown.set(Arc::clone(far.board().unwrap())).unwrap();
    far.settled().await;
    far.board().unwrap().enter(&"/".into(), Some("lobby"));
    current(&members[0].mesh, 1).await;
    for round in 0..200 {
        let rooms: Vec<Room> = vec![format!("room{round}").as_str().into()];
        members[0].mesh.publish(
            &"/".into(),
            Message::SocketsJoin { selector: Selector::to("lobby"), rooms: rooms.clone() },
        );
        // Nothing may show yet that it has joined.
        members[0].mesh.publish(&"/".into(), to(&rooms[0], round));
        let packet = tokio::time::timeout(PATIENCE, hears.recv()).await.expect("nothing was heard").unwrap();
        assert_eq!(packet, Packet::text(format!("[{round}]")));
    }
}

#[tokio::test]
async fn a_guest_hears_no_events_and_one_without_a_board_hears_all() {
    let dir = tempfile::tempdir().unwrap();
    let members = crowd(&dir, &["aaaaaa"]).await;
    let (heard, mut hears) = mpsc::channel(100);
    let sink: Sink = Arc::new(move |output| drop(heard.try_send(output)));
    let guest = Mesh::join(dir.path(), tag("gggggg"), None, None, true, sink).unwrap();
    guest.settled().await;
    assert!(guest.board().is_none());
    let mut old = Member::join(&dir, "oooooo");
    old.mesh.settled().await;
    current(&members[0].mesh, 1).await;
    let before = members[0].mesh.stats();
    members[0].mesh.publish(&"/".into(), to("nowhere", 1));
    let after = members[0].mesh.stats();
    assert_eq!((after.node.sent - before.node.sent, after.spared - before.spared), (1, 1));
    loop {
        if matches!(old.hears().await, Output::Deliver { packet, .. } if packet == Packet::text("[1]")) {
            break;
        }
    }
    members[0].mesh.leave().await;
    while let Ok(output) = hears.try_recv() {
        assert!(matches!(output, Output::PeerJoined(_) | Output::PeerLeft(_)), "{output:?}");
    }
}

#[tokio::test]
async fn events_that_may_be_missed_go_to_all_that_keep_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = crowd(&dir, &["aaaaaa", "bbbbbb"]).await;
    let sink: Sink = Arc::new(|_| ());
    let age = Some(Duration::from_secs(60));
    let http = Some(PathBuf::from("/http/kkkkkk.sock"));
    let keeper = Mesh::join(dir.path(), tag("kkkkkk"), http, age, true, sink).unwrap();
    keeper.settled().await;
    let before = keeper.stats();
    let mut flags = Flags::default();
    keeper.say(&"/".into(), Selector::to("nowhere"), &mut flags, Packet::text("[1]"));
    assert!(flags.at.is_some());
    current(&keeper, 2).await;
    keeper.say(&"/".into(), Selector::to("nowhere"), &mut Flags::default(), Packet::text("[2]"));
    assert!(keeper.stats().spared >= before.spared + 2, "those that keep none are spared");
    let sink: Sink = {
        let (heard, hears) = mpsc::channel(100);
        members[1].heard = hears;
        Arc::new(move |output| drop(heard.try_send(output)))
    };
    let http = Some(PathBuf::from("/http/llllll.sock"));
    let other = Mesh::join(dir.path(), tag("llllll"), http, age, true, sink).unwrap();
    other.settled().await;
    current(&keeper, 3).await;
    keeper.say(&"/".into(), Selector::to("nowhere"), &mut Flags::default(), Packet::text("[3]"));
    loop {
        if matches!(members[1].hears().await, Output::Deliver { packet, .. } if packet == Packet::text("[3]"))
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_board_that_is_given_up_means_everything_and_goes_with_its_member() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = crowd(&dir, &["aaaaaa", "bbbbbb"]).await;
    assert_eq!(files(&dir), ["aaaaaa.board", "aaaaaa.sock", "bbbbbb.board", "bbbbbb.sock"]);
    let mode = std::fs::metadata(dir.path().join("aaaaaa.board")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    members[1].board().give_up();
    members[1].board().enter(&"/".into(), Some("kitchen"));
    members[0].mesh.publish(&"/".into(), to("cellar", 1));
    assert_eq!(members[1].hears_event().await, "[1]");
    members[1].mesh.leave().await;
    assert_eq!(files(&dir), ["aaaaaa.board", "aaaaaa.sock"]);
    // One that was killed leaves both, and whoever finds its socket dead removes them.
    for name in ["zzzzzz.board", "zzzzzz.sock"] {
        std::fs::rename(dir.path().join(name.replace('z', "a")), dir.path().join(name)).unwrap();
    }
    drop(members);
    let member = Member::join_with(&dir, "cccccc", true);
    member.mesh.settled().await;
    let gone = async {
        while files(&dir) != ["cccccc.board", "cccccc.sock"] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what a dead member left stays");
}

/// Members with boards that know each other, and whose boards are trusted.
async fn crowd(dir: &TempDir, names: &[&str]) -> Vec<Member> {
    let mut members: Vec<_> = names.iter().map(|name| Member::join_with(dir, name, true)).collect();
    for member in &members {
        member.mesh.settled().await;
    }
    for member in &mut members {
        for _ in 1..names.len() {
            assert!(matches!(member.hears().await, Output::PeerJoined(_)));
        }
        current(&member.mesh, names.len() as u64 - 1).await;
    }
    members
}

/// Waits until so many members are spared what does not concern them.
async fn current(mesh: &Mesh, members: u64) {
    let spared = async {
        loop {
            let before = mesh.stats().spared;
            // A namespace that nobody is in.
            let flags = Flags { volatile: true, ..Flags::default() };
            let (selector, packet) = (Selector::to("nobody"), Packet::text("[0]"));
            let message = Message::Broadcast { selector, flags, packet, request_id: None };
            mesh.publish(&"/nobody".into(), message);
            if mesh.stats().spared - before >= members {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, spared).await.expect("its messages go to all for ever");
}

impl Member {
    fn board(&self) -> &Board {
        self.mesh.board().unwrap()
    }
}

fn to(room: &str, number: usize) -> Message {
    Message::Broadcast {
        selector: Selector::to(room),
        flags: Flags::default(),
        packet: Packet::text(format!("[{number}]")),
        request_id: None,
    }
}
