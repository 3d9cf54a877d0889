//! Sessions that are kept, and what they missed.

use std::time::Duration;

use bytes::Bytes;
use sockeye_cluster::adapter::{Position, Session, Sessions};
use sockeye_cluster::{Flags, Message, Pid, Selector};
use sockeye_proto::sid::{Sid, Tag};

use super::messages::three;
use crate::backend::Backend;
use crate::samples::{event, event_to, packet, text_in};
use crate::server::{Server, fresh_nsp, patient};

const KEEP: Duration = Duration::from_secs(60);

/// By any server, and by one of two at once.
pub(crate) async fn taken(backend: &dyn Backend) {
    let (a, [b, c]) = three(backend, &fresh_nsp()).await;
    let (Some(at_a), Some(at_b), Some(at_c)) =
        (a.channel.sessions(), b.channel.sessions(), c.channel.sessions())
    else {
        println!("    skipped: no sessions are kept");
        return;
    };
    let first = a.publish(vec![event("met")]).await.remove(0).offset.expect("expected an offset");
    let session = session(Some(first.clone()));
    save(at_a, &Session { rooms: vec!["elsewhere".into()], ..session.clone() }).await;
    // What was written before is replaced.
    save(at_a, &session).await;
    let offsets = say_much(&a, &b, session.sid).await;

    let returned = take(at_b, &session.pid, Some(&first)).await.expect("expected the session");
    assert_eq!(returned.session, session);
    let texts = |missed: &[sockeye_cluster::adapter::Missed]| -> Vec<String> {
        missed.iter().filter_map(|missed| text_in(&missed.packet)).collect()
    };
    let missed = ["to all", "to a room", "to the socket", "of another server"];
    assert_eq!(texts(&returned.missed), missed);
    assert_eq!(
        returned.missed.iter().map(|missed| &missed.offset).collect::<Vec<_>>(),
        offsets.iter().collect::<Vec<_>>()
    );
    assert!(take(at_a, &session.pid, Some(&first)).await.is_none(), "expected a session to be taken once");

    save(at_b, &session).await;
    let some = take(at_c, &session.pid, Some(&offsets[1])).await.expect("expected the session");
    assert_eq!(texts(&some.missed), missed[2..]);

    save(at_c, &session).await;
    let all = take(at_a, &session.pid, None).await.expect("expected the session, from where it began");
    assert_eq!(texts(&all.missed), missed);

    save(at_a, &session).await;
    let end = offsets.last().expect("there are some");
    let none = take(at_a, &session.pid, Some(end)).await.expect("expected the session");
    assert_eq!(texts(&none.missed), [""; 0]);

    save(at_a, &session).await;
    let both = tokio::join!(take(at_a, &session.pid, Some(end)), take(at_b, &session.pid, Some(end)));
    assert!(both.0.is_some() != both.1.is_some(), "expected one of two to get it, got {both:?}");
}

/// What is not there, is not given away, and is not kept for longer than it is to be.
pub(crate) async fn forgotten(backend: &dyn Backend) {
    let (a, [b, _c]) = three(backend, &fresh_nsp()).await;
    let (Some(at_a), Some(at_b)) = (a.channel.sessions(), b.channel.sessions()) else { return };
    let first = a.publish(vec![event("met")]).await.remove(0).offset.expect("expected an offset");
    let session = session(Some(first.clone()));
    assert!(take(at_b, &session.pid, Some(&first)).await.is_none(), "expected no session that nobody saved");
    save(at_a, &session).await;
    patient("a session to be forgotten", at_b.forget(&session.pid)).await;
    assert!(take(at_a, &session.pid, Some(&first)).await.is_none(), "expected a session to be forgotten");
    save(at_a, &session).await;
    let strange = Position("no offset of anybody".into());
    assert!(
        take(at_b, &session.pid, Some(&strange)).await.is_none(),
        "expected no promise for a strange offset"
    );
    patient("it to be saved", at_a.save(&session, Duration::from_millis(50))).await.expect("it is saved");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(take(at_b, &session.pid, Some(&first)).await.is_none(), "expected a session to end in time");
}

/// Says what a session may miss and what it may not; the offsets of what it may.
async fn say_much(a: &Server, b: &Server, sid: Sid) -> Vec<Position> {
    let volatile = Flags { volatile: true, ..Flags::default() };
    let quick = |request_id, flags| Message::Broadcast {
        selector: Selector::all(),
        flags,
        packet: packet("not to be missed"),
        request_id,
    };
    let published = a
        .publish(vec![
            event("to all"),
            event_to(Selector::to("kitchen"), "to a room"),
            event_to(Selector::to("attic"), "to another room"),
            event_to(Selector::to("kitchen").and_except(sid.as_str()), "to the others"),
            quick(None, volatile),
            quick(Some("aRequest".into()), Flags::default()),
            event_to(Selector::to(sid.as_str()), "to the socket"),
        ])
        .await;
    let last = b.publish(vec![event_to(Selector::all().and_except("attic"), "of another server")]).await;
    let offsets = [&published[0], &published[1], &published[6], &last[0]];
    offsets.into_iter().map(|published| published.offset.clone().expect("expected an offset")).collect()
}

fn session(start: Option<Position>) -> Session {
    let sid = Sid::new(Tag::from_bits(rand::random()), rand::random());
    Session {
        pid: Pid::from(format!("{:032x}", rand::random::<u128>())),
        sid,
        rooms: vec![sid.as_str().into(), "kitchen".into(), "Küche 🦀".into()],
        data: Bytes::from_static(r#"{"name":"é","n":[1,2.5]}"#.as_bytes()),
        start,
    }
}

async fn save(sessions: &dyn Sessions, session: &Session) {
    let saved = patient("a session to be saved", sessions.save(session, KEEP)).await;
    saved.unwrap_or_else(|error| panic!("expected a session to be saved: {error}"));
}

async fn take(
    sessions: &dyn Sessions,
    pid: &Pid,
    offset: Option<&Position>,
) -> Option<sockeye_cluster::adapter::Returned> {
    let taken = patient("an answer", sessions.take(pid, offset.map(|offset| &*offset.0))).await;
    taken.unwrap_or_else(|error| panic!("expected an answer: {error}"))
}
