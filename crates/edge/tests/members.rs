//! Groups of programs that are not ours: how their members are found, watched, filled and emptied.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod programs;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use programs::Program;
use sockeye_edge::config::{
    Affinity, Check, Cookie, DnsRecord, Drain, Group, Members, Probe, ProxyVersion, Queue, Server,
    ServerState, Site,
};
use sockeye_edge::{Config, MemberError, ServerCondition, parse_servers};
use sockeye_proto::Tag;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use world::{POLL, SOCKET, World, read_head, upgrade};

#[tokio::test]
async fn a_sid_is_learnt_from_the_handshake_and_forgotten_with_its_server() {
    let (mut a, b) = (Program::start("aaaaaaa").await, Program::start("bbbbbbb").await);
    let world = world(group(&[&a, &b]));
    let sids = [handshake(&world).await, handshake(&world).await];
    assert_ne!(sids[0][..7], sids[1][..7], "one each");
    for _ in 0..4 {
        for sid in &sids {
            let answer = world.get(&format!("{POLL}&sid={sid}")).await;
            assert!(answer.ends_with(&format!("6{}", &sid[..7])), "{answer}");
        }
    }
    let unknown = world.get(&format!("{POLL}&sid=ccccccc-000000000000")).await;
    assert!(unknown.starts_with("HTTP/1.1 400") && unknown.contains("Session ID unknown"), "{unknown}");
    a.kill().await;
    let dead = sids.iter().find(|sid| sid.starts_with("aaaaaaa")).unwrap();
    for _ in 0..2 {
        let answer = world.get(&format!("{POLL}&sid={dead}")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("Session ID unknown"), "{answer}");
    }
    for _ in 0..4 {
        assert!(handshake(&world).await.starts_with("bbbbbbb"));
    }
    assert_eq!(conditions(&world), [ServerCondition::Down, ServerCondition::Up]);
}

#[tokio::test]
async fn a_session_that_a_key_placed_elsewhere_than_it_would_now_keeps_its_server() {
    let (a, b) = (Program::start("aaaaaaa").await, Program::start("bbbbbbb").await);
    let bounded = Affinity::Address { three_octets: false, bound_percent: 125 };
    let mut full = group(&[&a, &b]);
    if let Members::Static(servers) = &mut full.members {
        servers.iter_mut().for_each(|server| server.sessions_max = NonZero::new(10));
    }
    // One address, so one favourite: the other half is placed over the bound, or past one that is full.
    for (affinity, group) in [
        (vec![bounded.clone()], group(&[&a, &b])),
        (vec![Affinity::Cookie(Cookie::default()), bounded], group(&[&a, &b])),
        (vec![Affinity::Address { three_octets: true, bound_percent: 0 }], full.clone()),
        (vec![Affinity::ForwardedFor], full),
    ] {
        let world = world(Group { affinity: affinity.clone(), ..group });
        let mut sids = Vec::new();
        for _ in 0..20 {
            sids.push(handshake(&world).await);
        }
        let at_a = sids.iter().filter(|sid| sid.starts_with("aaaaaaa")).count();
        assert!((5..=15).contains(&at_a), "{affinity:?}: {at_a} of 20 at one");
        for sid in &sids {
            let answer = world.get(&format!("{POLL}&sid={sid}")).await;
            assert!(answer.ends_with(&format!("6{}", &sid[..7])), "{affinity:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_server_whose_sids_have_a_tag_is_found_by_it_and_its_own_counts_are_believed() {
    let (a, b) = (Program::start("aaaaaa").await, Program::start("bbbbbb").await);
    let mut group = group(&[&a, &b]);
    let Members::Static(servers) = &mut group.members else { unreachable!() };
    servers[0].tag = "aaaaaa".parse().ok();
    servers[1].tag = "bbbbbb".parse().ok();
    let name = servers[1].name.clone();
    let world = world(group);
    for _ in 0..3 {
        let before = [a.requests(), b.requests()];
        world.get(&format!("{POLL}&sid=bbbbbbyyyyyyyyyyyyyy")).await;
        assert_eq!(
            [a.requests() - before[0], b.requests() - before[1]],
            [0, 1],
            "begun before the edge was there"
        );
    }
    world.control.report("app", &name, 5, 5).unwrap();
    for _ in 0..3 {
        assert!(handshake(&world).await.starts_with("aaaaaa"), "it has fewer");
    }
    let sessions =
        || world.control.stats().groups[0].servers.iter().map(|one| one.sessions).collect::<Vec<_>>();
    assert_eq!(sessions(), [3, 5]);
    world.control.report("app", &name, 0, 5).unwrap();
    assert!(handshake(&world).await.starts_with("bbbbbb"));
    assert_eq!(sessions(), [3, 0], "what it has not told yet is on its way");
    assert!(matches!(world.control.report("app", "nobody", 0, 0), Err(MemberError::NoServer { .. })));
}

#[tokio::test]
async fn a_unix_socket_and_one_with_a_cap_are_members_like_others() {
    let directory = tempfile::tempdir().unwrap();
    let one = Program::start_unix("aaaaaaa", &directory.path().join("a.sock"));
    let mut group = group(&[&one]);
    let Members::Static(servers) = &mut group.members else { unreachable!() };
    servers[0].sessions_max = NonZero::new(2);
    group.queue = Queue { wait_max: Duration::from_millis(50), ..Queue::default() };
    let world = world(group);
    handshake(&world).await;
    handshake(&world).await;
    let answer = world.get(POLL).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    let page = world.get("/page").await;
    assert!(page.ends_with("aaaaaaa"), "what makes no session is served: {page}");
}

#[tokio::test]
async fn one_that_says_it_is_unwell_gets_nothing_until_it_is_well() {
    let (a, b) = (Program::start("aaaaaaa").await, Program::start("bbbbbbb").await);
    let mut group = group(&[&a, &b]);
    group.health.check = Check::Http(Probe::default());
    group.health.interval = Duration::from_millis(50);
    let world = world(group);
    world::until(|| conditions(&world) == [ServerCondition::Up; 2]).await;
    a.seen.sick.store(true, Ordering::Relaxed);
    world::until(|| conditions(&world)[0] == ServerCondition::Down).await;
    let before = a.requests();
    for _ in 0..4 {
        assert!(handshake(&world).await.starts_with("bbbbbbb"));
    }
    assert_eq!(a.requests(), before);
    a.seen.sick.store(false, Ordering::Relaxed);
    world::until(|| conditions(&world)[0] == ServerCondition::Up).await;
    assert!(handshake(&world).await.starts_with("aaaaaaa"), "it has fewer");
    world.control.set_state("app", &a.at, ServerState::Maintenance).unwrap();
    assert!(handshake(&world).await.starts_with("bbbbbbb"));
    let nobody = world.control.set_state("app", "c", ServerState::Up);
    assert_eq!(nobody.unwrap_err().to_string(), "the group \"app\" has no server \"c\"");
    let listed = world.control.withdraw("app", &a.at).unwrap_err();
    assert!(matches!(listed, MemberError::NeverRegistered { .. }), "{listed}");
    assert!(listed.to_string().contains(&format!("POST /upstreams/app/{}/drain", a.at)), "{listed}");
}

#[tokio::test]
async fn a_registration_lasts_as_long_as_its_lease() {
    let (a, b) = (Program::start("aaaaaaa").await, Program::start("bbbbbbb").await);
    let lease = Duration::from_mins(1);
    let world = world(Group::new("app", Members::Registered { lease }));
    world.control.register("app", server(&a), None).unwrap();
    world.control.register("app", server(&b), Some(Duration::from_millis(300))).unwrap();
    world::until(|| conditions(&world) == [ServerCondition::Up; 2]).await;
    world::until(|| conditions(&world) == [ServerCondition::Up]).await;
    assert!(handshake(&world).await.starts_with("aaaaaaa"));
    world.control.withdraw("app", &a.at).unwrap();
    assert_eq!(conditions(&world), [ServerCondition::Leaving], "it has a session");
    let gone = world.control.withdraw("app", &a.at);
    assert!(matches!(gone, Err(MemberError::NoServer { .. })));
    assert_eq!(
        world.control.register("nobody", server(&a), None),
        Err(MemberError::NoGroup("nobody".to_owned()))
    );
}

#[tokio::test]
async fn nodes_of_the_directory_are_known_by_their_tags() {
    let (a, b) = (Program::start("aaaaaa").await, Program::start("bbbbbb").await);
    let mut group = Group::new("app", Members::Directory { adapter: String::new() });
    assert_eq!(group.health.check, Check::Http(Probe::default()));
    group.health.interval = Duration::from_millis(50);
    let world = world(group);
    let tags: [Tag; 2] = ["aaaaaa", "bbbbbb"].map(|tag| tag.parse().unwrap());
    let nodes = vec![(tags[0], server(&a)), (tags[1], server(&b))];
    world.control.directory("app", nodes).unwrap();
    world::until(|| conditions(&world) == [ServerCondition::Up; 2]).await;
    for tag in tags {
        for _ in 0..3 {
            let before = [a.requests(), b.requests()];
            world.get(&format!("{POLL}&sid={tag}yyyyyyyyyyyyyy")).await;
            let after = [a.requests(), b.requests()];
            let expected = if tag == tags[0] { [1, 0] } else { [0, 1] };
            assert_eq!([after[0] - before[0], after[1] - before[1]], expected);
        }
    }
    let before = a.requests() + b.requests();
    world.get(&format!("{POLL}&sid=ccccccyyyyyyyyyyyyyy")).await;
    assert_eq!(a.requests() + b.requests(), before + 1, "a node that was not heard of: another one knows");
}

#[tokio::test]
async fn a_name_is_resolved_again_and_again() {
    let (a, b) = (Program::start("aaaaaaa").await, Program::start("bbbbbbb").await);
    let port = |program: &Program| program.at.parse::<SocketAddr>().unwrap().port();
    let answers = Arc::new(Mutex::new(Answers { services: vec![(port(&a), 1)] }));
    let names = name_server(Arc::clone(&answers)).await;
    let members = Members::Dns {
        name: format!("_app._tcp.example.test@{names}"),
        record: DnsRecord::Service,
        every: Duration::from_millis(100),
    };
    let world = world(Group::new("app", members));
    world::until(|| conditions(&world) == [ServerCondition::Up]).await;
    answers.lock().services = vec![(port(&a), 1), (port(&b), 3)];
    world::until(|| conditions(&world) == [ServerCondition::Up; 2]).await;
    let stats = world.control.stats();
    assert_eq!(stats.groups[0].servers.iter().map(|server| server.weight).collect::<Vec<_>>(), [1, 3]);
    answers.lock().services = vec![(port(&b), 3)];
    world::until(|| conditions(&world) == [ServerCondition::Up]).await;
    assert!(handshake(&world).await.starts_with("bbbbbbb"));
    // A name that is gone changes nothing.
    answers.lock().services = Vec::new();
    assert!(handshake(&world).await.starts_with("bbbbbbb"));
}

#[tokio::test]
async fn addresses_of_a_name_are_servers_at_one_port() {
    let a = Program::start("aaaaaaa").await;
    let at: SocketAddr = a.at.parse().unwrap();
    let names = name_server(Arc::new(Mutex::new(Answers { services: Vec::new() }))).await;
    let members = Members::Dns {
        name: format!("app.example.test@{names}"),
        record: DnsRecord::Address(at.port()),
        every: Duration::from_secs(1),
    };
    let world = world(Group::new("app", members));
    world::until(|| conditions(&world) == [ServerCondition::Up]).await;
    assert!(handshake(&world).await.starts_with("aaaaaaa"));
}

#[tokio::test]
async fn a_tunnel_counts_and_ends_when_it_is_silent_for_longer_than_its_heartbeat() {
    let a = Program::start("aaaaaaa").await;
    let mut group = group(&[&a]);
    group.timeouts.heartbeat = Some(Duration::from_secs(1));
    group.timeouts.tunnel = Some(Duration::from_secs(2));
    let world = world(group);
    let mut stream = world.connect().await;
    stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    world::until(|| world.control.stats().groups[0].servers[0].sessions == 1).await;
    assert_eq!(world.control.stats().groups[0].silence_max, Duration::from_secs(2));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.ok();
    assert_eq!(rest, b"aaaaaaa", "its greeting, then its end");
    world::until(|| {
        let stats = world.control.stats();
        let group = &stats.groups[0];
        (group.silent, group.servers[0].sessions, group.servers[0].tunnels) == (1, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_drains_is_asked_to_let_its_sessions_go_at_the_pace() {
    let mut group = Group::workers();
    group.drain = Drain { pace: 50, rebalance: false };
    let world = World::start(Config { groups: vec![group], ..Config::default() });
    let (one, _other) = (world.worker(1).await, world.worker(2).await);
    for _ in 0..20 {
        world.get(POLL).await;
    }
    world.control.drain(one.tag);
    world::until(|| one.counts.shed.load(Ordering::Relaxed) >= 10).await;
}

#[tokio::test]
async fn a_server_that_wants_it_is_told_the_clients_address_before_the_first_byte() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let members = Members::Static(parse_servers(&at.to_string()).unwrap());
    let mut group = Group::new("app", members);
    group.health.check = Check::Off;
    group.send_proxy = Some(ProxyVersion::V1);
    let world = world(group);
    let mut client = world.connect().await;
    let (peer, port) = (client.local_addr().unwrap(), world.address.port());
    for target in ["/one", "/two"] {
        client.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let head = read_head(&mut server).await;
        let expected =
            format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\nGET {target} HTTP/1.1\r\n", peer.port());
        assert!(head.starts_with(&expected), "{head}");
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        read_head(&mut client).await;
    }
}

#[tokio::test]
async fn faults_of_a_group_are_told_and_change_nothing() {
    let a = Program::start("aaaaaaa").await;
    let world = world(group(&[&a]));
    let mut wrong = group(&[&a]);
    wrong.timeouts.tunnel = Some(Duration::from_secs(15));
    // At the port that the system chose, which stays: that of the default may be somebody else's.
    let listeners = Config::listen("127.0.0.1:0".parse().unwrap()).listeners;
    let told = world.control.apply(Config { listeners, ..config(wrong) }).unwrap_err().to_string();
    assert_eq!(
        told,
        "the group \"app\": timeouts.tunnel is 15s, and a healthy client may be silent for 45s (pingInterval + pingTimeout): \
         set more than that, or nothing"
    );
    handshake(&world).await;
}

fn world(group: Group) -> World {
    World::start(config(group))
}

fn config(group: Group) -> Config {
    Config { sites: vec![Site::everything("app")], groups: vec![group], ..Config::default() }
}

fn group(programs: &[&Program]) -> Group {
    let mut group = Group::new("app", Members::Static(programs.iter().map(|one| server(one)).collect()));
    group.affinity = vec![Affinity::Sid];
    group
}

fn server(program: &Program) -> Server {
    parse_servers(&program.at).unwrap().remove(0)
}

async fn handshake(world: &World) -> String {
    let answer = world.get(POLL).await;
    let sid = answer.split_once(r#""sid":""#).unwrap_or_else(|| panic!("{answer}")).1;
    sid.split_once('"').unwrap().0.to_owned()
}

fn conditions(world: &World) -> Vec<ServerCondition> {
    world.control.stats().groups[0].servers.iter().map(|server| server.condition).collect()
}

/// What the name server says: services by port and weight. Every other name is 127.0.0.1.
struct Answers {
    services: Vec<(u16, u16)>,
}

/// A name server of a few lines; it ends with the test.
async fn name_server(answers: Arc<Mutex<Answers>>) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer).await {
            let answer = answer(&buffer[..length], &answers.lock().services);
            socket.send_to(&answer, asker).await.ok();
        }
    });
    address
}

/// RFC 1035 §4.1: the head, the question as it came, and the records, all named by a pointer to the question.
fn answer(query: &[u8], services: &[(u16, u16)]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    let mut records: Vec<(u16, Vec<u8>)> = Vec::new();
    match kind {
        1 => records.push((1, vec![127, 0, 0, 1])),
        33 => {
            for (port, weight) in services {
                let mut service = vec![0, 1];
                service.extend(weight.to_be_bytes());
                service.extend(port.to_be_bytes());
                service.extend(b"\x04host\x07example\x04test\x00");
                records.push((33, service));
            }
        }
        _ => {}
    }
    let mut answer = query[..2].to_vec();
    answer.extend([0x84, 0x00, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    answer.extend(&query[12..end]);
    for (kind, data) in records {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    answer
}
