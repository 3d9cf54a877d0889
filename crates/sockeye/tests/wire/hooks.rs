//! Who hears what beside an event's handler: catch-all listeners, guards of events, errors, rooms, the moment of leaving.

use crate::harness::{Client, Host, Log, heard};
use sockeye::{Config, Emitted, Event, HandlerError, Recipients, RoomEvent, Server, ServerEvent, Socket};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

#[tokio::test]
async fn several_handlers_of_one_event_run_one_after_the_other() {
    let (log, mut entries) = Log::new();
    let (errors, mut failures) = Log::new();
    let host = Host::with(Config::default(), |main| {
        for number in 1..=3 {
            let [connecting, handling, other, leaving, left] = std::array::from_fn(|_| log.clone());
            main.on_connect(move |_: Socket| {
                connecting.add(format!("connect {number}"));
                std::future::ready(())
            })
            .on("e", move |event: Event| {
                let log = handling.clone();
                async move {
                    // The first takes longest.
                    tokio::time::sleep(Duration::from_millis(10 - 3 * number)).await;
                    log.add(format!("e {number}"));
                    event.ack((number, event.data::<u64>()?))?;
                    if number == 1 { Err(HandlerError::new("one")) } else { Ok(()) }
                }
            })
            .on_any_other(move |_: Event| {
                other.add(format!("other {number}"));
                std::future::ready(())
            })
            .on_disconnecting(move |_: Socket, _| leaving.add(format!("disconnecting {number}")))
            .on_disconnect(move |_: Socket, _| {
                left.add(format!("disconnect {number}"));
                std::future::ready(())
            });
        }
        main.on_error(move |_, error| errors.add(error.to_string()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"427["e",5]"#).await;
    client.say(r#"42["x"]"#).await;
    // One answer.
    client.hears(&["437[1,5]"]).await;
    let each = |what: &str| [1, 2, 3].map(|number| format!("{what} {number}"));
    for what in ["connect", "e", "other"] {
        for expected in each(what) {
            assert_eq!(heard(&mut entries).await, expected);
        }
    }
    client.say("41").await;
    for what in ["disconnecting", "disconnect"] {
        for expected in each(what) {
            assert_eq!(heard(&mut entries).await, expected);
        }
    }
    assert_eq!(heard(&mut failures).await, "one");
}

#[test]
#[should_panic(expected = "no client can send the event \"disconnect\"")]
fn a_handler_that_could_never_run_is_named_where_it_is_written() {
    Server::new(Config::default()).namespace("/").on("disconnect", async |_: Event| {});
}

#[test]
#[should_panic(expected = "expected one handler of the server event \"e\"")]
fn a_second_handler_of_a_server_event_is_named() {
    let mut server = Server::new(Config::default());
    let main = server.namespace("/");
    main.on_server_event("e", async |_: ServerEvent| {}).on_server_event("e", async |_: ServerEvent| {});
}

#[tokio::test]
async fn an_event_meets_listeners_then_guards_then_its_handler() {
    let (log, mut heard_of) = Log::new();
    let host = Host::with(Config::default(), |definition| {
        let [one, two, guard, other_guard, handler, errors] = std::array::from_fn(|_| log.clone());
        definition
                .on_any(move |event: &Event| one.add(format!("1 {}", event.name())))
                .on_any(move |event: &Event| -> sockeye::Result {
                    two.add("2".to_owned());
                    event.data::<i64>()?;
                    Ok(())
                })
                .guard_event(move |event: Event| {
                    guard.add("guard".to_owned());
                    async move {
                        if event.name() == "no" { Err(HandlerError::new("forbidden")) } else { Ok(event) }
                    }
                })
                .guard_event(move |event: Event| {
                    other_guard.add("next guard".to_owned());
                    async move { Ok(event) }
                })
                .on("yes", move |event: Event| {
                    handler.add("handler".to_owned());
                    async move { event.ack(event.data::<i64>()?).map_err(HandlerError::from) }
                })
                .on_error(move |_, error| errors.add(format!("error {error}")));
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"421["yes",7]"#).await;
    client.hears(&["431[7]"]).await;
    hears(&mut heard_of, &["1 yes", "2", "guard", "next guard", "handler"]).await;
    client.say(r#"422["no",7]"#).await;
    hears(&mut heard_of, &["1 no", "2", "guard", "error forbidden"]).await;
    client.say(r#"42["unknown","x"]"#).await;
    let not_a_number = r#"error invalid type: string "x", expected i64 at line 1 column 3"#;
    hears(&mut heard_of, &["1 unknown", "2", not_a_number, "guard", "next guard"]).await;
    // The refused event's ack was never answered, and the socket goes on.
    client.say(r#"423["yes",8]"#).await;
    client.hears(&["433[8]"]).await;
}

#[tokio::test]
async fn what_panics_harms_nobody() {
    let host = Host::with(Config::default(), |definition| {
        definition
            .on_any(|event: &Event| assert!(event.name() == "fine", "on purpose"))
            .on_any_outgoing(|_| panic!("on purpose"))
            .on_room_event(|_| panic!("on purpose"))
            .on_error(|_, _| panic!("on purpose"))
            .on_disconnecting(|_: Socket, _| -> () { panic!("on purpose") })
            .guard_event(|event: Event| {
                assert!(event.name() != "guard", "on purpose");
                async move { Ok(event) }
            })
            .on("any", async |event: Event| event.ack(1))
            .on("error", async |_: Event| Err::<(), _>("on purpose"))
            .on("fine", async |event: Event| event.socket().emit("fine", ()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    for event in [r#"42["guard"]"#, r#"42["error"]"#, r#"421["any"]"#] {
        client.say(event).await;
    }
    client.hears(&["431[1]"]).await;
    client.say(r#"42["fine"]"#).await;
    client.hears(&[r#"42["fine"]"#]).await;
    client.say("41").await;
    client.say("40").await;
    assert!(client.text().await.starts_with("40{"));
}

#[tokio::test]
async fn whoever_leaves_has_its_rooms_to_the_last_moment() {
    let (log, mut heard_of) = Log::new();
    let host = Host::with(Config::default(), |definition| {
        let (before, after) = (log.clone(), log.clone());
        definition
            .on_connect(async |socket: Socket| socket.join(["a", "b"]))
            .on("wait", async |_: Event| std::future::pending::<()>().await)
            .on("mark", async |event: Event| event.ack(()))
            .on_disconnecting(move |socket: Socket, reason| {
                before.add(format!("{reason} {} {}", socket.rooms().len(), socket.is_connected()));
                socket.to("a").emit("left", socket.id())
            })
            .on_disconnect(move |socket: Socket, reason| {
                after.add(format!("{reason} {} {}", socket.rooms().len(), socket.is_connected()));
                async {}
            });
    })
    .await;
    let mut stays = Client::enter(&host).await;
    stays.say(r#"421["mark"]"#).await;
    stays.hears(&["431[]"]).await;
    let mut leaves = Client::enter(&host).await;
    leaves.say(r#"42["mark"]"#).await;
    leaves.say("41").await;
    let words = "client namespace disconnect";
    hears(&mut heard_of, &[&format!("{words} 3 true"), &format!("{words} 0 false")]).await;
    stays.hears(&[&format!(r#"42["left","{}"]"#, leaves.id)]).await;
    // Also at once, while a handler works.
    let mut works = Client::enter(&host).await;
    works.say(r#"42["wait"]"#).await;
    works.say("41").await;
    hears(&mut heard_of, &[&format!("{words} 3 true")]).await;
    stays.hears(&[&format!(r#"42["left","{}"]"#, works.id)]).await;
}

#[tokio::test]
async fn what_goes_out_is_heard_once_for_each_emit() {
    let (log, mut heard_of) = Log::new();
    let host = Host::with(Config::default(), |definition| {
        definition
            .on_any_outgoing(move |emitted: &Emitted| {
                let to = match emitted.recipients() {
                    Recipients::Socket(_) => "one".to_owned(),
                    Recipients::Rooms { rooms, except } => format!("{rooms:?} but {}", except.len()),
                };
                let json = String::from_utf8_lossy(emitted.args().json()).into_owned();
                log.add(format!("{}{} {json} to {to}", emitted.namespace(), emitted.name()));
            })
            .on("go", async |event: Event| -> sockeye::Result {
                event.socket().emit("a", (1, "x"))?;
                event.socket().to("r").emit("b", bytes::Bytes::from_static(b"x"))?;
                event.namespace().emit("c", ())?;
                event.ack("unheard")?;
                Ok(())
            });
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"421["go"]"#).await;
    client.hears(&[r#"42["a",1,"x"]"#, r#"42["c"]"#, r#"431["unheard"]"#]).await;
    let binary = r#"/b {"_placeholder":true,"num":0} to ["r"] but 1"#;
    hears(&mut heard_of, &[r#"/a 1,"x" to one"#, binary, "/c  to [] but 0"]).await;
}

#[tokio::test]
async fn rooms_come_and_go_in_the_official_order() {
    let (log, mut heard_of) = Log::new();
    let host = Host::with(Config::default(), |definition| {
        let words = log.clone();
        definition
            .on_room_event(move |event: &RoomEvent| {
                words.add(match event {
                    RoomEvent::Created(room) => format!("create {room}"),
                    RoomEvent::Joined(room, id) => format!("join {room} {id}"),
                    RoomEvent::Left(room, id) => format!("leave {room} {id}"),
                    RoomEvent::Deleted(room) => format!("delete {room}"),
                    _ => "?".to_owned(),
                });
            })
            .on("join", async |event: Event| {
                event.socket().join(["a", "a"]);
                event.ack(())
            })
            .on("leave", async |event: Event| {
                event.socket().leave("a");
                event.socket().leave("a");
            });
    })
    .await;
    let mut one = Client::enter(&host).await;
    one.say(r#"421["join"]"#).await;
    one.hears(&["431[]"]).await;
    let mut two = Client::enter(&host).await;
    two.say(r#"42["join"]"#).await;
    let (id, other) = (one.id.clone(), two.id.clone());
    hears(&mut heard_of, &[&format!("create {id}"), &format!("join {id} {id}")]).await;
    hears(&mut heard_of, &["create a", &format!("join a {id}")]).await;
    hears(&mut heard_of, &[&format!("create {other}"), &format!("join {other} {other}")]).await;
    hears(&mut heard_of, &[&format!("join a {other}")]).await;
    one.say(r#"42["leave"]"#).await;
    hears(&mut heard_of, &[&format!("leave a {id}")]).await;
    two.say("41").await;
    hears(&mut heard_of, &[&format!("leave {other} {other}"), &format!("delete {other}")]).await;
    hears(&mut heard_of, &[&format!("leave a {other}"), "delete a"]).await;
}

async fn hears(log: &mut Receiver<String>, entries: &[&str]) {
    for entry in entries {
        assert_eq!(heard(log).await, *entry);
    }
}
