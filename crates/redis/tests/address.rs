//! Addresses as text: what is understood, and what is said of the rest.

use std::time::Duration;

use sockeye_redis::{Address, ClassicOptions, Kind, Mode, Server, ShardedOptions, StreamsOptions};

#[test]
fn an_address_names_the_format_the_servers_and_the_options() {
    let Address::Classic(server, options) = parsed("redis://localhost") else { panic!("it is classic") };
    check(&server, &[("localhost", 6379)], &Kind::Single);
    assert_eq!((server.username, server.password, server.db, server.tls), (None, None, 0, None));
    assert_eq!(options, ClassicOptions::default());

    let text = "rediss://us%65r:p%40ss%3Aword@[::1]:7000/3?channel_prefix=my%20app&specific_responses=true";
    let Address::Classic(server, options) = parsed(text) else { panic!("it is classic") };
    check(&server, &[("::1", 7000)], &Kind::Single);
    assert_eq!((server.username.as_deref(), server.password.as_deref()), (Some("user"), Some("p@ss:word")));
    assert_eq!((server.db, server.tls.is_some()), (3, true));
    assert_eq!(options, ClassicOptions { channel_prefix: "my app".into(), specific_responses: true });

    let Address::Sharded(server, options) = parsed("redis+sharded://:pw@a:1,b,c:3?mode=dynamic-private")
    else {
        panic!("it is sharded")
    };
    check(&server, &[("a", 1), ("b", 6379), ("c", 3)], &Kind::Cluster);
    assert_eq!((server.username.as_deref(), server.password.as_deref()), (None, Some("pw")));
    assert_eq!(options, ShardedOptions { mode: Mode::DynamicPrivate, ..ShardedOptions::default() });

    let text = "redis+streams://s1,s2:5000/?sentinel=mymaster&stream_name=x&stream_count=4&max_len=50&read_count=7&block_ms=200&session_key_prefix=k:&sharded_pub_sub=true";
    let Address::Streams(server, options) = parsed(text) else { panic!("it is streams") };
    check(&server, &[("s1", 26379), ("s2", 5000)], &Kind::Sentinel { service: "mymaster".into() });
    let expected = StreamsOptions {
        stream_name: "x".into(),
        stream_count: 4,
        channel_prefix: "socket.io".into(),
        sharded_pub_sub: true,
        max_len: 50,
        read_count: 7,
        block: Duration::from_millis(200),
        session_key_prefix: "k:".into(),
    };
    assert_eq!(options, expected);

    let Address::Sharded(server, _) = parsed("redis+sharded://a?cluster=true") else {
        panic!("it is sharded")
    };
    check(&server, &[("a", 6379)], &Kind::Cluster);
}

#[test]
fn what_is_wrong_is_named_with_what_to_write_instead() {
    let rows = [
        ("localhost", "`scheme` is ``: expected redis://"),
        ("http://localhost", "`scheme` is `http`: expected redis://"),
        ("redis+stream://h", "`scheme` is `redis+stream`: expected redis://"),
        ("redis://", "`host` is ``: expected host"),
        ("redis://a,,b", "`host` is ``: expected host"),
        ("redis://[::1", "`host` is `[::1`: expected host"),
        ("redis://h:0", "`port` is `0`: expected a number from 1 to 65535"),
        ("redis://h:99999", "`port` is `99999`: expected a number from 1 to 65535"),
        ("redis://h/x", "`db` is `x`: expected a number from 0 on"),
        ("redis://h/-1", "`db` is `-1`: expected a number from 0 on"),
        ("redis://a,b/1", "`db` is `1`: expected 0, the only one that a Redis Cluster has"),
        ("redis+sharded://h?mode=fast", "`mode` is `fast`: expected static, dynamic or dynamic-private"),
        (
            "redis://h?mode=static",
            "`option` is `mode`: expected one of sentinel, cluster, tls_ca, channel_prefix",
        ),
        ("redis://h?specific_responses=yes", "`specific_responses` is `yes`: expected true or false"),
        ("redis://h?sentinel=", "`sentinel` is ``: expected the name of the master"),
        ("redis+streams://h?stream_count=0", "`stream_count` is `0`: expected a number from 1 to 1000"),
        ("redis+streams://h?max_len=-5", "`max_len` is `-5`: expected a number from 1 to"),
        ("redis://h?channel_prefix=a&channel_prefix=b", "`channel_prefix` is `b`: expected it once"),
        ("redis://h?tls_ca=/x.pem", "`tls_ca` is `/x.pem`: expected rediss://"),
        ("rediss://h?tls_ca=/no/such/file", "`tls_ca` is `/no/such/file`: expected a file that can be read"),
        ("redis://u:%ff@h", "`password` is `…`: expected UTF-8"),
    ];
    for (text, message) in rows {
        let error = text.parse::<Address>().expect_err(text).to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn no_password_is_ever_printed() {
    let address = parsed("redis://user:geheim@h:1/0");
    assert!(!format!("{address:?}").contains("geheim"), "{address:?}");
    for text in [
        "redis://user:geheim@h:x",
        "redis://user:geheim@h/x",
        "redis://user:geheim@h?x=1",
        "redi://user:geheim@h",
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    }
}

#[tokio::test]
async fn an_adapter_says_where_it_is_without_user_and_password() {
    let rows = [
        ("redis://user:geheim@h:1/0", "redis://h:1"),
        ("rediss+sharded://:geheim@a,b:2", "rediss+sharded://a:6379,b:2"),
        ("redis+streams://h", "redis+streams://h:6379"),
    ];
    for (text, place) in rows {
        let adapter = parsed(text).into_adapter();
        assert_eq!(adapter.place(), place);
        assert!(!format!("{adapter:?}").contains("geheim"), "{adapter:?}");
    }
}

fn parsed(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(server: &Server, addresses: &[(&str, u16)], kind: &Kind) {
    let found: Vec<_> = server.addresses.iter().map(|(host, port)| (&**host, *port)).collect();
    assert_eq!((&*found, &server.kind), (addresses, kind));
}
