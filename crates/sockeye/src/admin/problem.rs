//! What is wrong with a request: the field, its value, and what to do about it.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use sockeye_relay::Body;

/// Characters of a value that an answer repeats.
const VALUE_CHARS_MAX: usize = 200;

/// What is wrong with a request.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    pub(super) status: StatusCode,
    /// What is wrong.
    error: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// What would be right.
    fix: String,
}

impl Problem {
    /// Something that no single field is to blame for.
    pub(super) fn new(status: StatusCode, error: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status, error: error.into(), field: None, value: None, fix: fix.into() }
    }

    /// A field that is not what it has to be.
    pub(super) fn field(
        name: impl Into<String>,
        value: Option<&str>,
        error: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let value = value.map(|value| value.chars().take(VALUE_CHARS_MAX).collect());
        let field = Some(name.into());
        Self { field, value, ..Self::new(StatusCode::BAD_REQUEST, error, fix) }
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = json(self.status, serde_json::to_vec(self).unwrap_or_default());
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
