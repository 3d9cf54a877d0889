//! What an operator asks, and the answer: who may, what it is, what comes of it.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::json;
use sockeye::admin;

use super::members::{self, Trouble};
use super::metrics;
use super::office::Office;
use super::view::View;

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn answer(office: &Office, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    // The page holds nothing but itself: it asks for the token that `/status` wants.
    if is_read(request.method()) && path == "/" {
        return page();
    }
    if !may(office, &request) {
        let mut refused = problem(
            StatusCode::UNAUTHORIZED,
            "a bearer token is needed",
            "send Authorization: Bearer TOKEN, as admin.token of the file says",
        );
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    match (request.method().as_str(), path) {
        ("GET" | "HEAD", "/status") => {
            let body = serde_json::to_vec(&view(office)).unwrap_or_default();
            typed(StatusCode::OK, "application/json", body)
        }
        ("GET" | "HEAD", "/metrics") => {
            let workers = sockeye_link::pages::merge(&office.ways.workers().ask().await);
            let text = metrics::text(&view(office)) + &workers;
            typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        ("POST", "/apply") => match office.standing.apply().await {
            Ok(done) => typed(StatusCode::OK, "application/json", json!({ "done": done }).to_string()),
            Err(error) => problem(
                StatusCode::UNPROCESSABLE_ENTITY,
                &format!("{error:#}"),
                "nothing was changed: what ran before goes on",
            ),
        },
        (_, path) if admin::Service::PATHS.contains(&path) => clients(office, request).await,
        (_, path) if path.starts_with("/upstreams/") => member(office, request).await,
        (_, "/" | "/status" | "/metrics" | "/apply") => {
            problem(StatusCode::METHOD_NOT_ALLOWED, "not by this method", "docs/edge.md has the list")
        }
        _ => problem(
            StatusCode::NOT_FOUND,
            "there is no such page",
            "there are /, /status, /metrics, /apply, /upstreams/…, /emit, /disconnect and /sockets",
        ),
    }
}

/// What concerns the clients of the workers: `docs/admin.md`.
async fn clients(office: &Office, mut request: Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let app = query.split('&').find_map(|pair| pair.strip_prefix("app="));
    let clients = match office.ways.to(app) {
        Ok(clients) => clients,
        Err(apps) if apps.is_empty() => {
            return problem(
                StatusCode::NOT_FOUND,
                "there are no workers here",
                "ask a server of the upstream itself",
            );
        }
        Err(apps) => {
            let error = app
                .map_or_else(|| "there are several apps".to_owned(), |app| format!("there is no app {app}"));
            let fix = format!(
                "say whose clients are meant, such as ?app={}: there are {}",
                apps[0],
                apps.join(", ")
            );
            return problem(StatusCode::BAD_REQUEST, &error, &fix);
        }
    };
    request.headers_mut().insert(header::AUTHORIZATION, clients.word.clone());
    let (head, body) = Box::pin(clients.service.answer(request)).await.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, Full::new(body.to_bytes())),
        Err(error) => problem(StatusCode::BAD_GATEWAY, &error.to_string(), "try again"),
    }
}

/// What concerns one server.
async fn member(office: &Office, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body did not come, or is too large",
            "send at most 16 KiB of JSON",
        );
    };
    let control = office.standing.control();
    match members::answer(control, head.method.as_str(), head.uri.path(), &body.to_bytes()) {
        Ok(done) => typed(StatusCode::OK, "application/json", json!({ "done": done }).to_string()),
        Err(Trouble::Bad(why)) => problem(StatusCode::BAD_REQUEST, &why, "docs/edge.md shows a registration"),
        Err(Trouble::Refused(why)) => {
            problem(StatusCode::CONFLICT, &why, "GET /status lists groups and servers")
        }
        Err(Trouble::Unknown) => problem(
            StatusCode::NOT_FOUND,
            "there is no such order",
            "PUT or DELETE /upstreams/GROUP/NAME, POST /upstreams/GROUP/NAME/drain, …/up or …/maintenance",
        ),
    }
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// Whether a request bears the token. Without one the socket's file says who may come.
fn may<B>(office: &Office, request: &Request<B>) -> bool {
    let Some(token) = &office.token else { return true };
    let shown = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some((scheme, shown)) = shown.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && token.is(shown.trim_ascii())
}

fn view(office: &Office) -> View {
    let standing = &office.standing;
    let stats = standing.control().stats();
    View::of(&stats, standing.path().display().to_string(), office.since.elapsed())
}

/// The page, with a word of its own that allows its script and style, and nothing else.
fn page() -> Answer {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the system has no randomness", "try again");
    }
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut answer = typed(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace("@NONCE@", &nonce));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

fn problem(status: StatusCode, error: &str, fix: &str) -> Answer {
    typed(status, "application/json", json!({ "error": error, "fix": fix }).to_string())
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The largest body: a registration is far smaller.
const BODY_BYTES_MAX: usize = 16 << 10;

const PAGE: &str = include_str!("page.html");
