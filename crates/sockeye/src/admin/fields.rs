//! What a body or a query says, field by field: parsed into types that cannot be wrong.

use super::problem::Problem;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sockeye_cluster::{Flags, Nsp, Room, Selector};
use sockeye_proto::http::query_pairs;
use sockeye_proto::payload::Args;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest time that `timeout` may ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// `POST /emit`.
pub(super) struct Emit {
    pub(super) whom: Whom,
    pub(super) flags: Flags,
    pub(super) event: String,
    pub(super) args: Args,
}

/// `POST /disconnect`.
pub(super) struct Disconnect {
    pub(super) whom: Whom,
    pub(super) close: bool,
}

/// `GET /sockets`.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) whom: Whom,
    pub(super) timeout: Option<Duration>,
}

/// Which sockets are meant.
#[derive(Debug)]
pub(super) struct Whom {
    pub(super) nsp: Nsp,
    pub(super) selector: Selector,
}

/// The fields of a JSON object, not looked into.
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Emit {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body, &["event", "args", "nsp", "rooms", "except", "flags"])?;
        let event: Option<String> = fields.take("event", r#"a string, such as "news""#)?;
        let event = event.filter(|event| !event.is_empty()).ok_or_else(|| {
            Problem::field("event", None, "the event has no name", r#"give it one, such as "event": "news""#)
        })?;
        let args = match fields.0.remove("args") {
            Some(args) => Args::from_json(args.get()).map_err(|error| {
                let fix = r#"an array of the event's arguments, such as "args": ["hello", 1]"#;
                Problem::field("args", Some(args.get()), format!("expected an array: {error}"), fix)
            })?,
            None => Args::new(b"", Vec::new()),
        };
        Ok(Self { whom: fields.whom()?, flags: fields.flags()?, event, args })
    }
}

impl Disconnect {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body, &["nsp", "rooms", "except", "close"])?;
        let close = fields.take("close", "true, or false to leave the connection open")?.unwrap_or(false);
        Ok(Self { whom: fields.whom()?, close })
    }
}

impl Sockets {
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let (mut nsp, mut timeout, mut selector) = (None, None, Selector::all());
        for (name, value) in query_pairs(query) {
            match &*name {
                "nsp" => nsp = Some(value.into_owned()),
                "room" => selector.rooms.push(Room::from(value.into_owned())),
                "except" => selector.except.push(Room::from(value.into_owned())),
                "timeout" => {
                    let wish =
                        value.parse().ok().map(Duration::from_millis).filter(|wish| *wish <= TIMEOUT_MAX);
                    timeout = Some(wish.ok_or_else(|| {
                        let fix = format!("milliseconds from 0 to {}", TIMEOUT_MAX.as_millis());
                        Problem::field("timeout", Some(&value), "expected a time", fix)
                    })?);
                }
                "" => {}
                other => {
                    let fix = "nsp, room and except (both as often as wanted), timeout";
                    return Err(Problem::field(other, Some(&value), "there is no such parameter", fix));
                }
            }
        }
        Ok(Self { whom: Whom { nsp: nsp_of(nsp), selector }, timeout })
    }
}

impl Fields {
    fn parse(body: &[u8], known: &[&str]) -> Result<Self, Problem> {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).map_err(|error| {
            let text = String::from_utf8_lossy(body);
            let fix = "send one JSON object, such as {\"event\": \"news\"}";
            Problem::field("body", Some(&text), format!("expected a JSON object: {error}"), fix)
        })?;
        if let Some((name, value)) = fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let fix = format!("known are {}", known.join(", "));
            return Err(Problem::field(name, Some(value.get()), "there is no such field", fix));
        }
        Ok(Self(fields))
    }

    /// Takes a field; null counts as absent.
    fn take<T: DeserializeOwned>(&mut self, name: &str, fix: &str) -> Result<Option<T>, Problem> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_str(value.get())
            .map_err(|error| Problem::field(name, Some(value.get()), error.to_string(), fix))
    }

    fn whom(&mut self) -> Result<Whom, Problem> {
        let nsp = nsp_of(self.take("nsp", r#"the name of a namespace, such as "/news""#)?);
        let selector = Selector { rooms: self.rooms("rooms")?, except: self.rooms("except")? };
        Ok(Whom { nsp, selector })
    }

    fn rooms(&mut self, name: &str) -> Result<Vec<Room>, Problem> {
        let rooms: Option<Vec<String>> = self.take(name, r#"an array of rooms, such as ["sports"]"#)?;
        Ok(rooms.unwrap_or_default().into_iter().map(Room::from).collect())
    }

    fn flags(&mut self) -> Result<Flags, Problem> {
        let mut flags = Flags::default();
        let object = r#"an object, such as {"volatile": true}"#;
        let given: BTreeMap<String, Box<RawValue>> = self.take("flags", object)?.unwrap_or_default();
        for (name, value) in given {
            let whether = || {
                serde_json::from_str::<bool>(value.get()).map_err(|error| {
                    Problem::field(
                        format!("flags.{name}"),
                        Some(value.get()),
                        error.to_string(),
                        "true or false",
                    )
                })
            };
            match name.as_str() {
                "volatile" => flags.volatile = whether()?,
                "local" => flags.local = whether()?,
                "compress" => flags.compress = Some(whether()?),
                "coalesce" => {
                    let key: String = serde_json::from_str(value.get()).map_err(|error| {
                        let fix = "the key by which a later event takes the place of this one, a string";
                        Problem::field("flags.coalesce", Some(value.get()), error.to_string(), fix)
                    })?;
                    flags.coalesce = Some(key.into());
                }
                _ => {
                    let fix = "known are volatile, local, compress, coalesce";
                    let name = format!("flags.{name}");
                    return Err(Problem::field(name, Some(value.get()), "there is no such flag", fix));
                }
            }
        }
        Ok(flags)
    }
}

/// As everywhere: the main namespace where none is named, and a slash that may be left out.
fn nsp_of(name: Option<String>) -> Nsp {
    match name {
        None => Nsp::new("/"),
        Some(name) if name.starts_with('/') => Nsp::from(name),
        Some(name) => Nsp::from(format!("/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_meant() {
        let body = br#"{"event":"e","args":[1,{"a":2.50}],"nsp":"n","rooms":["a"],"except":["b"],"flags":{"volatile":true,"coalesce":"k"}}"#;
        let emit = Emit::parse(body).unwrap();
        assert_eq!((emit.event.as_str(), emit.args.json()), ("e", &br#"1,{"a":2.50}"#[..]));
        assert_eq!((&*emit.whom.nsp, emit.whom.selector), ("/n", Selector::to("a").and_except("b")));
        assert_eq!(emit.flags, Flags { volatile: true, coalesce: Some("k".into()), ..Flags::default() });
        let emit = Emit::parse(br#"{"event":"e","rooms":null}"#).unwrap();
        assert_eq!((&*emit.whom.nsp, emit.whom.selector, emit.args.json()), ("/", Selector::all(), &b""[..]));
        let disconnect = Disconnect::parse(br#"{"nsp":"/n","close":true}"#).unwrap();
        assert_eq!((&*disconnect.whom.nsp, disconnect.close), ("/n", true));
        let sockets = Sockets::parse("nsp=/n&room=a%20b&room=c&except=d&timeout=50").unwrap();
        assert_eq!(sockets.whom.selector, Selector::to("a b").and_to("c").and_except("d"));
        assert_eq!(sockets.timeout, Some(Duration::from_millis(50)));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_field_the_value_and_the_fix() {
        let rows: [(&[u8], &str, &str); 10] = [
            (b"", "body", ""),
            (b"[1]", "body", "[1]"),
            (b"{}", "event", "-"),
            (br#"{"event":5}"#, "event", "5"),
            (br#"{"event":"e","args":"x"}"#, "args", r#""x""#),
            (br#"{"event":"e","room":"x"}"#, "room", r#""x""#),
            (br#"{"event":"e","rooms":"x"}"#, "rooms", r#""x""#),
            (br#"{"event":"e","nsp":1}"#, "nsp", "1"),
            (br#"{"event":"e","flags":{"volatile":1}}"#, "flags.volatile", "1"),
            (br#"{"event":"e","flags":{"loud":true}}"#, "flags.loud", "true"),
        ];
        for (body, field, value) in rows {
            let text = String::from_utf8_lossy(body);
            let Err(problem) = Emit::parse(body) else { panic!("{text}") };
            let told = serde_json::to_value(&problem).unwrap();
            assert_eq!(
                (told["field"].as_str(), told["value"].as_str().unwrap_or("-")),
                (Some(field), value),
                "{text}"
            );
            assert!(told["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{text}");
        }
        for (query, field) in [("rooms=a", "rooms"), ("timeout=x", "timeout"), ("timeout=60001", "timeout")] {
            let told = serde_json::to_value(Sockets::parse(query).unwrap_err()).unwrap();
            assert_eq!(told["field"], field, "{query}");
        }
        let deep = format!(r#"{{"event":"e","args":[{}{}]}}"#, "[".repeat(500), "]".repeat(500));
        assert!(Emit::parse(deep.as_bytes()).is_err());
    }
}
