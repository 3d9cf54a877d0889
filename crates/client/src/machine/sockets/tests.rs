//! Rows: what comes, and what it means.

use super::*;
use std::time::Duration;

#[test]
fn namespaces_are_asked_for_when_a_connection_is_there_and_again_on_the_next() {
    let mut sockets = Sockets::new(10);
    sockets.join("/", String::new());
    sockets.join("/admin", r#"{"token":"x"}"#.to_owned());
    says(&mut sockets, &[]);
    sockets.handle_opened();
    says(&mut sockets, &[send(&["40", r#"40/admin,{"token":"x"}"#])]);
    text(&mut sockets, r#"0{"sid":"A"}"#, &[entered("/", "A", false)]);
    text(
        &mut sockets,
        r#"4/admin,{"message":"no","data":{"code":1}}"#,
        &[refused("/admin", "no", Some(r#"{"code":1}"#))],
    );
    sockets.join("/late", String::new());
    says(&mut sockets, &[send(&["40/late,"])]);
    assert_eq!(sockets.handle_closed(), ["/"]);
    sockets.set_auth("/", r#"{"new":1}"#.to_owned());
    sockets.handle_opened();
    // What was refused is not asked for again by itself.
    says(&mut sockets, &[send(&[r#"40{"new":1}"#, "40/late,"])]);
}

#[test]
fn events_wait_until_the_client_is_in() {
    let mut sockets = joined(r#"{"sid":"A"}"#);
    sockets.emit("/", draft(r#"["a",1]"#), None);
    says(&mut sockets, &[send(&[r#"42["a",1]"#])]);
    sockets.handle_closed();
    sockets.emit("/", draft(r#"["b"]"#), None);
    sockets.emit("/", draft(r#"["c"]"#), Some(in_millis(1)));
    says(&mut sockets, &[]);
    assert_eq!(sockets.queued(), 10);
    sockets.handle_opened();
    says(&mut sockets, &[send(&["40"])]);
    text(&mut sockets, r#"0{"sid":"B"}"#, &[entered("/", "B", false), send(&[r#"42["b"]"#, r#"420["c"]"#])]);
}

#[test]
fn answers_come_late_or_never() {
    let mut sockets = joined(r#"{"sid":"A"}"#);
    for id in 0..4 {
        assert_eq!(sockets.emit("/", draft(r#"["a"]"#), Some(in_millis(100 * (id + 1)))), Some(id));
    }
    drain(&mut sockets);
    text(&mut sockets, "31[1,2]", &[answered(1, "1,2")]);
    text(&mut sockets, "31[1,2]", &[]);
    text(&mut sockets, "37[]", &[]);
    text(&mut sockets, "30", &[answered(0, "")]);
    assert_eq!(sockets.poll_timeout(), Some(in_millis(300)));
    sockets.handle_timeout(in_millis(300));
    says(&mut sockets, &[lost(2, Lost::TimedOut)]);
    sockets.handle_closed();
    says(&mut sockets, &[lost(3, Lost::Disconnected)]);
    // One that was not sent waits for its time, and is not sent after it.
    sockets.emit("/", draft(r#"["a"]"#), Some(in_millis(500)));
    sockets.handle_timeout(in_millis(500));
    says(&mut sockets, &[lost(4, Lost::TimedOut)]);
    assert_eq!((sockets.queued(), sockets.acks()), (0, 0));
}

#[test]
fn a_client_that_comes_back_shows_its_pid_and_the_last_offset() {
    let mut sockets = joined(r#"{"sid":"A","pid":"P"}"#);
    let (one, two) = (r#""x","off1""#, r#"{"a":"off2"}"#);
    text(&mut sockets, &format!(r#"2["a",{one}]"#), &[event("a", one, None)]);
    text(&mut sockets, &format!(r#"2["a",{two}]"#), &[event("a", two, None)]);
    sockets.handle_closed();
    sockets.handle_opened();
    says(&mut sockets, &[send(&[r#"40{"offset":"off1","pid":"P"}"#])]);
    // What was missed comes first.
    text(&mut sockets, r#"2["b","off3"]"#, &[event("b", r#""off3""#, None)]);
    text(&mut sockets, r#"0{"sid":"A","pid":"P"}"#, &[entered("/", "A", true)]);
    sockets.handle_closed();
    sockets.set_auth("/", r#"{"token":"t"}"#.to_owned());
    sockets.handle_opened();
    says(&mut sockets, &[send(&[r#"40{"offset":"off3","pid":"P","token":"t"}"#])]);
    text(&mut sockets, r#"0{"sid":"B","pid":"Q"}"#, &[entered("/", "B", false)]);
    sockets.handle_closed();
    sockets.handle_opened();
    says(&mut sockets, &[send(&[r#"40{"pid":"Q","token":"t"}"#])]);
}

#[test]
fn attachments_go_and_come() {
    let mut sockets = joined(r#"{"sid":"A"}"#);
    let place = r#"{"_placeholder":true,"num":0}"#;
    let with = Draft {
        json: format!(r#"["a",{place}]"#).into_bytes(),
        attachments: vec![Bytes::from_static(b"xy")],
    };
    sockets.emit("/", with.clone(), None);
    let frames = |head: &str| {
        Output::Send(vec![Frame::Text(format!("{head}{place}]")), Frame::Binary(Bytes::from_static(b"xy"))])
    };
    says(&mut sockets, &[frames(r#"451-["a","#)]);
    sockets.answer("/", 7, Draft { json: format!("[{place}]").into_bytes(), ..with });
    says(&mut sockets, &[frames("461-7[")]);
    text(&mut sockets, &format!(r#"51-3["b",{place}]"#), &[]);
    sockets.handle(Frame::Binary(Bytes::from_static(b"z")));
    let args = Args::new(place.as_bytes(), vec![Bytes::from_static(b"z")]);
    says(&mut sockets, &[Output::Event { nsp: "/".to_owned(), name: "b".to_owned(), args, ack: Some(3) }]);
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let place = r#"{"_placeholder":true,"num":1}"#;
    for (frames, what) in [
        (vec![Frame::Text("x".to_owned())], "unknown packet type"),
        (vec![Frame::Text("2{}".to_owned())], "invalid payload"),
        (vec![Frame::Text(r#"511-["a"]"#.to_owned())], "too many attachments"),
        (vec![Frame::Binary(Bytes::new())], "expected text, got bytes"),
        (
            vec![Frame::Text(r#"51-["a"]"#.to_owned()), Frame::Text("2".to_owned())],
            "expected an attachment, got text",
        ),
        (
            vec![Frame::Text(format!(r#"51-["a",{place}]"#)), Frame::Binary(Bytes::new())],
            "illegal attachments",
        ),
    ] {
        let mut sockets = joined(r#"{"sid":"A"}"#);
        frames.into_iter().for_each(|frame| sockets.handle(frame));
        says(&mut sockets, &[Output::Misbehaved(what.to_owned())]);
    }
    let mut sockets = Sockets::new(10);
    sockets.join("/", String::new());
    sockets.handle_opened();
    drain(&mut sockets);
    sockets.handle(Frame::Text("0".to_owned()));
    assert!(matches!(sockets.poll_output(), Some(Output::Misbehaved(_))), "a server of Socket.IO 2");
}

#[test]
fn what_makes_no_sense_is_passed_over() {
    let mut sockets = joined(r#"{"sid":"A"}"#);
    for packet in ["2/other,[\"a\"]", "0/other,{\"sid\":\"x\"}", "2", "31", "1/other,", "3[1]"] {
        text(&mut sockets, packet, &[]);
    }
}

#[test]
fn either_side_can_leave() {
    let mut sockets = joined(r#"{"sid":"A"}"#);
    text(&mut sockets, "1", &[Output::PutOut { nsp: "/".to_owned() }]);
    sockets.handle_closed();
    sockets.handle_opened();
    says(&mut sockets, &[]);
    sockets.join("/", String::new());
    says(&mut sockets, &[send(&["40"])]);
    text(&mut sockets, r#"0{"sid":"B"}"#, &[entered("/", "B", false)]);
    sockets.leave("/");
    says(&mut sockets, &[send(&["41"])]);
    sockets.leave("/");
    sockets.leave("/nowhere");
    says(&mut sockets, &[]);
    // A CONNECT that crosses with it.
    text(&mut sockets, r#"0{"sid":"C"}"#, &[]);
}

fn joined(admission: &str) -> Sockets {
    let mut sockets = Sockets::new(10);
    sockets.join("/", String::new());
    sockets.handle_opened();
    sockets.handle(Frame::Text(format!("0{admission}")));
    drain(&mut sockets);
    sockets
}

fn drain(sockets: &mut Sockets) {
    while sockets.poll_output().is_some() {}
}

#[track_caller]
fn says(sockets: &mut Sockets, outputs: &[Output]) {
    let said: Vec<_> = std::iter::from_fn(|| sockets.poll_output()).collect();
    assert_eq!(said, outputs);
}

#[track_caller]
fn text(sockets: &mut Sockets, text: &str, outputs: &[Output]) {
    sockets.handle(Frame::Text(text.to_owned()));
    says(sockets, outputs);
}

fn in_millis(millis: u64) -> Instant {
    static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *NOW.get_or_init(Instant::now) + Duration::from_millis(millis)
}

fn draft(json: &str) -> Draft {
    Draft { json: json.as_bytes().to_vec(), attachments: Vec::new() }
}

fn send(texts: &[&str]) -> Output {
    Output::Send(texts.iter().map(|text| Frame::Text((*text).to_owned())).collect())
}

fn entered(nsp: &str, id: &str, recovered: bool) -> Output {
    Output::Entered { nsp: nsp.to_owned(), id: id.to_owned(), recovered }
}

fn refused(nsp: &str, message: &str, data: Option<&str>) -> Output {
    Output::Refused { nsp: nsp.to_owned(), message: message.to_owned(), data: data.map(str::to_owned) }
}

fn event(name: &str, args: &str, ack: Option<u64>) -> Output {
    let args = Args::new(args.as_bytes(), Vec::new());
    Output::Event { nsp: "/".to_owned(), name: name.to_owned(), args, ack }
}

fn answered(id: u64, args: &str) -> Output {
    Output::Answered { nsp: "/".to_owned(), id, args: Args::new(args.as_bytes(), Vec::new()) }
}

fn lost(id: u64, why: Lost) -> Output {
    Output::Lost { nsp: "/".to_owned(), id, why }
}
