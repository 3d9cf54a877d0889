//! The expectations are outputs of the npm module `cors` 2.8, given the same options and requests.

use super::*;

const PAGE: [(&str, &str); 1] = [("origin", "http://a.test")];
const EVIL: [(&str, &str); 1] = [("origin", "http://evil.test")];
const ASKS: [(&str, &str); 3] = [
    ("origin", "http://a.test"),
    ("access-control-request-headers", "x-a, x-b"),
    ("access-control-request-method", "POST"),
];

#[test]
fn a_response_gets_the_official_headers() {
    let any = "access-control-allow-origin: *";
    check(Cors::any(), &[], any);
    check(Cors::any(), &PAGE, any);
    check(Cors::any(), &EVIL, any);

    let mirror = || cors(CorsOptions { origin: Origin::Mirror, ..options() });
    check(mirror(), &[], "vary: Origin");
    check(mirror(), &PAGE, "access-control-allow-origin: http://a.test\nvary: Origin");
    check(mirror(), &EVIL, "access-control-allow-origin: http://evil.test\nvary: Origin");

    let list = || {
        let origin = Origin::List(vec!["http://b.test".into(), "http://a.test".into()]);
        cors(CorsOptions { origin, credentials: true, ..options() })
    };
    check(list(), &[], "access-control-allow-credentials: true\nvary: Origin");
    check(list(), &EVIL, "access-control-allow-credentials: true\nvary: Origin");
    check(
        list(),
        &PAGE,
        "access-control-allow-credentials: true\naccess-control-allow-origin: http://a.test\nvary: Origin",
    );

    check(
        full(),
        &PAGE,
        "access-control-allow-credentials: true\n\
         access-control-allow-origin: http://a.test\n\
         access-control-expose-headers: X-Out,X-More\n\
         vary: Origin",
    );
}

#[test]
fn a_preflight_gets_the_official_headers() {
    let methods = "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE";
    check_preflight(
        Cors::any(),
        &PAGE,
        &format!("{methods}\naccess-control-allow-origin: *\nvary: Access-Control-Request-Headers"),
    );
    check_preflight(
        Cors::any(),
        &ASKS,
        &format!(
            "access-control-allow-headers: x-a, x-b\n{methods}\naccess-control-allow-origin: *\n\
             vary: Access-Control-Request-Headers"
        ),
    );
    check_preflight(
        cors(CorsOptions { origin: Origin::Mirror, credentials: true, ..options() }),
        &ASKS,
        &format!(
            "access-control-allow-credentials: true\naccess-control-allow-headers: x-a, x-b\n{methods}\n\
             access-control-allow-origin: http://a.test\nvary: Origin, Access-Control-Request-Headers"
        ),
    );
    check_preflight(
        cors(CorsOptions { origin: Origin::List(vec!["http://a.test".into()]), ..options() }),
        &EVIL,
        &format!("{methods}\nvary: Origin, Access-Control-Request-Headers"),
    );
    check_preflight(
        full(),
        &ASKS,
        "access-control-allow-credentials: true\n\
         access-control-allow-headers: X-One,X-Two\n\
         access-control-allow-methods: GET,POST\n\
         access-control-allow-origin: http://a.test\n\
         access-control-expose-headers: X-Out,X-More\n\
         access-control-max-age: 600\n\
         \
         vary: Origin",
    );
    let empty = CorsOptions {
        origin: Origin::List(Vec::new()),
        methods: Vec::new(),
        allowed_headers: Some(Vec::new()),
        ..options()
    };
    check_preflight(cors(empty), &ASKS, "vary: Origin");
    check_preflight(
        cors(CorsOptions { max_age: Some(Duration::ZERO), ..options() }),
        &[],
        &format!(
            "{methods}\naccess-control-allow-origin: *\naccess-control-max-age: 0\n\
             vary: Access-Control-Request-Headers"
        ),
    );
}

#[test]
fn a_vary_that_is_there_is_kept() {
    let cors = cors(CorsOptions { origin: Origin::Mirror, ..options() });
    for (before, after) in
        [("Accept-Encoding", "Accept-Encoding, Origin"), ("accept, origin", "accept, origin"), ("*", "*")]
    {
        let mut response = headers(&[("vary", before)]);
        cors.apply(None, &mut response);
        assert_eq!(response[VARY], after);
    }
}

#[test]
fn options_that_cannot_be_meant_say_what_to_write_instead() {
    let list = |origin: &str| CorsOptions { origin: Origin::List(vec![origin.to_owned()]), ..options() };
    for (options, said) in [
        (
            CorsOptions { credentials: true, ..options() },
            "`credentials: true` cannot go with `origin: Any` (`*`)",
        ),
        (list("*"), "`origin` has `*`"),
        (list("*"), "take `Origin::Any`"),
        (list("https://a.test/"), "without a path or a closing slash"),
        (list("a.test"), "expected scheme and host"),
        (list("https://*.a.test"), "`origin` has `https://*.a.test`"),
        (list("https://a.test\n"), "`origin` has"),
        (CorsOptions { methods: vec!["GET,POST".into()], ..options() }, "`methods` has `GET,POST`"),
        (CorsOptions { exposed_headers: vec![String::new()], ..options() }, "`exposed_headers` has ``"),
        (
            CorsOptions { allowed_headers: Some(vec!["x y".into()]), ..options() },
            "`allowed_headers` has `x y`",
        ),
    ] {
        let error = Cors::new(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(said), "expected `{said}` in `{error}`");
    }
    for origin in ["null", "capacitor://localhost", "https://a.test:8443", "http://[::1]:3000"] {
        Cors::new(list(origin)).unwrap();
    }
}

fn check(cors: Cors, request: &[(&str, &str)], expected: &str) {
    let mut response = HeaderMap::new();
    cors.apply(headers(request).get("origin"), &mut response);
    assert_eq!(lines(&response), expected, "{cors:?} {request:?}");
}

fn check_preflight(cors: Cors, request: &[(&str, &str)], expected: &str) {
    let request = headers(request);
    let asked = request.get("access-control-request-headers");
    let mut answer = cors.preflight(request.get("origin"), asked);
    assert_eq!(answer.status, 204);
    assert_eq!(lines(answer.all()), expected, "{cors:?} {request:?}");
}

fn full() -> Cors {
    cors(CorsOptions {
        origin: Origin::List(vec!["http://a.test".into()]),
        methods: vec!["GET".into(), "POST".into()],
        allowed_headers: Some(vec!["X-One".into(), "X-Two".into()]),
        exposed_headers: vec!["X-Out".into(), "X-More".into()],
        credentials: true,
        max_age: Some(Duration::from_mins(10)),
    })
}

fn cors(options: CorsOptions) -> Cors {
    Cors::new(options).unwrap()
}

fn options() -> CorsOptions {
    CorsOptions::default()
}

fn headers(rows: &[(&str, &str)]) -> HeaderMap {
    let parsed = rows.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    parsed.collect::<Vec<(http::HeaderName, HeaderValue)>>().into_iter().collect()
}

fn lines(headers: &HeaderMap) -> String {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines.join("\n")
}
