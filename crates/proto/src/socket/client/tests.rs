//! What messages mean to a client's machine.

use super::*;

#[test]
fn a_client_enters_talks_and_leaves() {
    let mut client = admitted();
    let rows: [(&str, Action<'_>); 4] = [
        (r#"2["a",1]"#, Action::Event(message("/", None, r#"["a",1]"#))),
        (r#"27["a"]"#, Action::Event(message("/", Some(7), r#"["a"]"#))),
        (r#"33["ok"]"#, Action::Ack(message("/", Some(3), r#"["ok"]"#))),
        ("1", Action::Disconnect { nsp: "/" }),
    ];
    for (text, action) in rows {
        assert_eq!(client.handle_text(text), Ok(action), "{text}");
    }
    assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::InvalidState));
}

#[test]
fn a_namespace_is_asked_for_with_and_without_auth() {
    let rows = [
        ("0", "/", ""),
        (r#"0{"token":"x"}"#, "/", r#"{"token":"x"}"#),
        ("0/admin,", "/admin", ""),
        ("0/random", "/random", ""),
        (r#"0/admin,{"a":1}"#, "/admin", r#"{"a":1}"#),
    ];
    for (text, nsp, auth) in rows {
        let mut client = Client::new(Limits::default(), Instant::now());
        assert_eq!(client.handle_text(text), Ok(Action::Connect { nsp, auth }), "{text}");
    }
}

#[test]
fn what_a_client_may_not_send() {
    let rows = ["0", r#"2/admin,["a"]"#, "1/admin,", r#"3/x,0["a"]"#, r#"4{"message":"no"}"#, r#"4/x,"no""#];
    for text in rows {
        assert_eq!(admitted().handle_text(text), Err(Misbehaved::InvalidState), "{text}");
    }
    for text in ["", "9", r#"2"a""#, r#"2{"a":1}"#, r#"2["connect"]"#, "abc"] {
        let result = admitted().handle_text(text).map(|_| ());
        assert!(matches!(result, Err(Misbehaved::Malformed(_))), "{text}: {result:?}");
    }
}

#[test]
fn nothing_passes_before_the_namespace_is_entered() {
    let mut client = Client::new(Limits::default(), Instant::now());
    client.handle_text("0").unwrap();
    assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::InvalidState));
    client.refuse("/");
    assert!(client.handle_text("0").is_ok(), "a refused client may ask again");
}

#[test]
fn attachments_complete_a_packet_in_order() {
    let mut client = admitted();
    let text = r#"52-1["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(client.handle_text(text), Ok(Action::Pending));
    assert_eq!(client.handle_binary(Bytes::from_static(b"x")), Ok(Action::Pending));
    let whole = Message {
        nsp: "/",
        id: Some(1),
        data: r#"["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        attachments: vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")],
    };
    assert_eq!(client.handle_binary(Bytes::from_static(b"y")), Ok(Action::Event(whole)));
    assert_eq!(client.handle_binary(Bytes::from_static(b"z")), Err(Misbehaved::UnexpectedBinary));
    assert!(client.handle_text(r#"2["a"]"#).is_ok());
}

#[test]
fn text_between_attachments_and_binary_from_nowhere_are_refused() {
    let mut client = admitted();
    client.handle_text(r#"51-["b",{"_placeholder":true,"num":0}]"#).unwrap();
    assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::TextBetweenAttachments));
    assert_eq!(admitted().handle_binary(Bytes::new()), Err(Misbehaved::UnexpectedBinary));
}

#[test]
fn the_time_to_enter_a_namespace_is_limited() {
    let now = Instant::now();
    let mut client = Client::new(Limits::default(), now);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(45)));
    client.handle_text("0").unwrap();
    assert!(client.poll_timeout().is_some(), "asking is not entering");
    client.admit("/");
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_placeholder_is_for_one_attachment_alone() {
    let twice = r#"51-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#;
    for (text, good) in
        [(twice, false), (r#"51-["b",{"_placeholder":true,"num":1}]"#, false), (r#"51-["b"]"#, true)]
    {
        let mut client = admitted();
        client.handle_text(text).unwrap();
        let result = client.handle_binary(Bytes::new());
        assert_eq!(result.is_ok(), good, "{text}: {result:?}");
    }
}

#[test]
fn a_v3_client_is_in_the_main_namespace_without_asking() {
    let mut client = v3();
    assert_eq!(client.poll_action(), Some(Action::Connect { nsp: "/", auth: "{}" }));
    assert_eq!(client.poll_action(), None);
    assert_eq!(client.handle_text("0"), Err(Misbehaved::InvalidState), "it asked already");
    assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::InvalidState), "nobody admitted it");
    client.admit("/");
    assert_eq!(client.poll_timeout(), None);
    assert_eq!(client.handle_text(r#"2["a"]"#), Ok(Action::Event(message("/", None, r#"["a"]"#))));
    assert_eq!(client.handle_text("1"), Ok(Action::Disconnect { nsp: "/" }));
    assert_eq!(Client::new(Limits::default(), Instant::now()).poll_action(), None, "v4 asks");
}

#[test]
fn a_v3_client_that_is_refused_may_ask_again() {
    let mut client = v3();
    client.poll_action().unwrap();
    client.refuse("/");
    assert!(client.poll_timeout().is_some());
    assert_eq!(client.handle_text("0"), Ok(Action::Connect { nsp: "/", auth: "{}" }));
}

#[test]
fn a_v3_client_sends_its_credentials_as_the_query_of_a_namespace() {
    for (text, nsp, auth) in [
        ("0/nsp", "/nsp", "{}"),
        ("0/nsp,", "/nsp", "{}"),
        ("0/the-namespace?test=123,", "/the-namespace", r#"{"test":"123"}"#),
        ("0/nsp?a=1&b=x%2Cy", "/nsp", r#"{"a":"1","b":"x,y"}"#),
        (r#"0/nsp?a=1,{"token":"x"}"#, "/nsp", r#"{"a":"1"}"#),
        (r#"0{"token":"x"}"#, "/", "{}"),
        ("0/?a=1,", "/", r#"{"a":"1"}"#),
    ] {
        let mut client = v3();
        assert_eq!(client.handle_text(text), Ok(Action::Connect { nsp, auth }), "{text}");
        assert_eq!(client.handle_text(text), Err(Misbehaved::InvalidState), "{text}, twice");
    }
    let mut client = v3();
    client.handle_text("0/nsp?a=1,").unwrap();
    client.admit("/nsp");
    let packets = [r#"2/nsp,["a"]"#, r#"2/nsp?a=1,["a"]"#, r#"2/nsp?b,["a"]"#];
    for text in packets {
        assert_eq!(client.handle_text(text), Ok(Action::Event(message("/nsp", None, r#"["a"]"#))), "{text}");
    }
    assert_eq!(client.handle_text("1/nsp?a=1,"), Ok(Action::Disconnect { nsp: "/nsp" }));
}

#[test]
fn in_v4_a_query_is_a_part_of_the_name() {
    let mut client = Client::new(Limits::default(), Instant::now());
    assert_eq!(client.handle_text("0/nsp?a=1,"), Ok(Action::Connect { nsp: "/nsp?a=1", auth: "" }));
}

#[test]
fn attachments_reach_a_v3_namespace() {
    let mut client = v3();
    client.handle_text("0/nsp?a=1,").unwrap();
    client.admit("/nsp");
    let data = r#"["b",{"_placeholder":true,"num":0}]"#;
    assert_eq!(client.handle_text(&format!("51-/nsp?a=1,{data}")), Ok(Action::Pending));
    let whole = Message { attachments: vec![Bytes::from_static(b"x")], ..message("/nsp", None, data) };
    assert_eq!(client.handle_binary(Bytes::from_static(b"x")), Ok(Action::Event(whole)));
}

#[test]
fn msgpack_means_what_text_means() {
    for protocol in [Protocol::V3, Protocol::V4] {
        let mut client = msgpack_client(protocol);
        let (name, auth) = match protocol {
            Protocol::V3 => ("/x?a=1", r#"{"a":"1"}"#),
            Protocol::V4 => ("/x", r#"{"token":1}"#),
        };
        let connect = pack(Kind::Connect, name, None, r#"{"token":1}"#, &[]);
        assert_eq!(client.handle_binary(connect.clone()), Ok(Action::Connect { nsp: "/x", auth }));
        assert_eq!(client.handle_binary(connect), Err(Misbehaved::InvalidState));
        let data = r#"["b",{"_placeholder":true,"num":0}]"#;
        let parts = [Bytes::from_static(b"x")];
        let event = pack(Kind::Event, "/x", Some(3), data, &parts);
        assert_eq!(client.handle_binary(event.clone()), Err(Misbehaved::InvalidState), "not admitted");
        client.admit("/x");
        let whole = Message { attachments: parts.to_vec(), ..message("/x", Some(3), data) };
        assert_eq!(client.handle_binary(event), Ok(Action::Event(whole)));
        let ack = pack(Kind::Ack, "/x", Some(9), "[1]", &[]);
        assert_eq!(client.handle_binary(ack), Ok(Action::Ack(message("/x", Some(9), "[1]"))));
        client.release();
        let error = pack(Kind::ConnectError, "/x", None, r#""no""#, &[]);
        assert_eq!(client.handle_binary(error), Err(Misbehaved::InvalidState));
        let disconnect = pack(Kind::Disconnect, "/x", None, "", &[]);
        assert_eq!(client.handle_binary(disconnect.clone()), Ok(Action::Disconnect { nsp: "/x" }));
        assert_eq!(client.handle_binary(disconnect), Err(Misbehaved::InvalidState));
    }
}

#[test]
fn a_msgpack_client_breaks_the_protocol_with_text_and_with_anything_else() {
    let malformed = |result: Result<Action<'_>, Misbehaved>| matches!(result, Err(Misbehaved::Malformed(_)));
    assert!(malformed(msgpack_client(Protocol::V4).handle_text("0")));
    assert!(malformed(msgpack_client(Protocol::V4).handle_binary(Bytes::new())));
    assert!(malformed(msgpack_client(Protocol::V4).handle_binary(Bytes::from_static(b"0"))));
    // A part and two maps that look like its placeholder: 92 { _placeholder: true, num: 0 } x 2 and the part.
    let map = b"\x82\xac_placeholder\xc3\xa3num\x00";
    let forged = [b"\x83\xa4type\x02\xa4data\x94\xa1a", &map[..], map, b"\xc4\x00\xa3nsp\xa1/"].concat();
    assert_eq!(
        msgpack_client(Protocol::V4).handle_binary(forged.into()),
        Err(Misbehaved::Placeholder(PlaceholderError))
    );
}

#[test]
fn what_an_action_borrowed_can_be_released() {
    let mut client = admitted();
    client.handle_text(r#"52-["b"]"#).unwrap();
    client.release();
    assert_eq!(client.handle_binary(Bytes::new()), Ok(Action::Pending), "a packet that waits is kept");
    client.handle_binary(Bytes::new()).unwrap();
    client.release();
    assert!(client.partial.is_none() && client.whole.is_none());
    assert_eq!(client.handle_binary(Bytes::new()), Err(Misbehaved::UnexpectedBinary));
}

fn v3() -> Client {
    let dialect = Dialect { protocol: Protocol::V3, parser: Parser::Text };
    Client::with_dialect(Limits::default(), dialect, Instant::now())
}

fn msgpack_client(protocol: Protocol) -> Client {
    Client::with_dialect(Limits::default(), Dialect { protocol, parser: Parser::Msgpack }, Instant::now())
}

fn pack(kind: Kind, nsp: &str, id: Option<u64>, data: &str, attachments: &[Bytes]) -> Bytes {
    msgpack::encode(kind, nsp, id, data.as_bytes(), attachments).unwrap().into()
}

fn admitted() -> Client {
    let mut client = Client::new(Limits::default(), Instant::now());
    client.handle_text("0").unwrap();
    client.admit("/");
    client
}

fn message<'a>(nsp: &'a str, id: Option<u64>, data: &'a str) -> Message<'a> {
    Message { nsp, id, data, attachments: Vec::new() }
}
