//! Which pages of other origins may use the server: the headers of the official server, which are those of the Express `cors` module.
//!
//! A request is never refused here: the browser does that, by the headers. Says nothing about which requests are preflights; whoever has
//! the request's method knows.
//!
//! ```
//! use sockeye::{Config, Cors, CorsOptions, Origin};
//!
//! let cors = Cors::new(CorsOptions {
//!     origin: Origin::List(vec!["https://app.example.com".to_owned()]),
//!     credentials: true,
//!     ..CorsOptions::default()
//! })?;
//! let config = Config { cors: Some(cors), ..Config::default() };
//! # Ok::<_, sockeye::CorsError>(())
//! ```

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use thiserror::Error;

use crate::http_answer::HttpAnswer;

/// The methods of the official default.
const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"];

/// What a [`Cors`] is made of; the default allows every origin, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsOptions {
    /// Which origins are allowed. Default [`Origin::Any`].
    pub origin: Origin,
    /// The methods that a preflight is told. Default `GET,HEAD,PUT,PATCH,POST,DELETE`; none: no word of them.
    pub methods: Vec<String>,
    /// The request headers that a preflight is told. Default `None`: those it asks for.
    pub allowed_headers: Option<Vec<String>>,
    /// The response headers that a page may read besides the harmless ones. Default none.
    pub exposed_headers: Vec<String>,
    /// Whether cookies come along (`withCredentials` of the client). Default no; the origins must then be [`Origin::Mirror`] or [`Origin::List`].
    pub credentials: bool,
    /// How long a browser may keep the answer to a preflight, in whole seconds. Default `None`: as long as it likes (5 s in most).
    pub max_age: Option<Duration>,
}

/// Which origins are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Every one: `*`.
    Any,
    /// Every one, named back. With credentials this lets every page in the world act as the user: know why.
    Mirror,
    /// Those of the list, each as browsers write it: `https://example.com`, without a path.
    List(Vec<String>),
}

/// Options that cannot be meant; each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CorsError {
    /// Browsers refuse `*` where cookies come along.
    #[error(
        "cors: `credentials: true` cannot go with `origin: Any` (`*`), browsers refuse it: list the origins with `Origin::List`, or take `Origin::Mirror`"
    )]
    AnyWithCredentials,
    /// An entry of the list that no browser sends.
    #[error(
        "cors: `origin` has `{0}`, expected scheme and host as in `https://example.com:8443`, without a path or a closing slash{hint}",
        hint = if .0 == "*" { ": for every origin take `Origin::Any`" } else { "" }
    )]
    NoOrigin(String),
    /// A method or a header name that cannot stand in a header.
    #[error("cors: `{field}` has `{value}`, expected a name of letters, digits and hyphens")]
    NoToken {
        /// The field of [`CorsOptions`].
        field: &'static str,
        /// What it has.
        value: String,
    },
}

/// Which pages of other origins may use the server; made of [`CorsOptions`] that have been found in order.
///
/// ```
/// use sockeye::{Cors, CorsError, CorsOptions, Origin};
///
/// let cookies = CorsOptions { credentials: true, ..CorsOptions::default() };
/// assert_eq!(Cors::new(cookies.clone()).err(), Some(CorsError::AnyWithCredentials));
///
/// let origin = Origin::List(vec!["https://app.example.com".to_owned()]);
/// assert!(Cors::new(CorsOptions { origin, ..cookies }).is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Cors {
    origin: Allowed,
    credentials: bool,
    methods: Option<HeaderValue>,
    /// `None`: those that are asked for. `Some(None)`: no word of them.
    #[expect(clippy::option_option, reason = "not settled is another thing than settled to none")]
    allowed_headers: Option<Option<HeaderValue>>,
    exposed_headers: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

#[derive(Debug, Clone)]
enum Allowed {
    Any,
    Mirror,
    List(Vec<HeaderValue>),
}

impl Cors {
    /// Settles the options.
    ///
    /// # Errors
    ///
    /// Fails on options that no browser would obey; the message names the field, the value and the way out.
    pub fn new(options: CorsOptions) -> Result<Self, CorsError> {
        let origin = match options.origin {
            Origin::Any if options.credentials => return Err(CorsError::AnyWithCredentials),
            Origin::Any => Allowed::Any,
            Origin::Mirror => Allowed::Mirror,
            Origin::List(origins) => {
                Allowed::List(origins.into_iter().map(origin_value).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self {
            origin,
            credentials: options.credentials,
            methods: list_value("methods", &options.methods)?,
            allowed_headers: match options.allowed_headers {
                Some(names) => Some(list_value("allowed_headers", &names)?),
                None => None,
            },
            exposed_headers: list_value("exposed_headers", &options.exposed_headers)?,
            max_age: options.max_age.map(|age| age.as_secs().into()),
        })
    }

    /// Allows every origin, without credentials: `*`.
    pub fn any() -> Self {
        Self::new(CorsOptions::default()).expect("the default options are in order")
    }

    /// Adds to a response what tells the browser that the page may read it.
    pub(crate) fn apply(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        if let Some(origin) = self.allowed(origin) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if self.depends_on_origin() {
            vary(response, "Origin");
        }
        if self.credentials {
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(names) = &self.exposed_headers {
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
    }

    /// Answers a preflight, a request with the method OPTIONS that asks for these headers. Its `Content-Length` of 0, for which Safari
    /// waits, is the connection's to add.
    pub(crate) fn preflight(&self, origin: Option<&HeaderValue>, asked: Option<&HeaderValue>) -> HttpAnswer {
        let mut answer = HttpAnswer::status(StatusCode::NO_CONTENT);
        let headers = answer.more();
        self.apply(origin, headers);
        if let Some(methods) = &self.methods {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        let allowed_headers = match &self.allowed_headers {
            Some(settled) => settled.as_ref(),
            None => {
                vary(headers, "Access-Control-Request-Headers");
                asked.filter(|asked| !asked.is_empty())
            }
        };
        if let Some(names) = allowed_headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        if let Some(max_age) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        answer
    }

    /// What the browser is told; `None`: nothing, and it refuses.
    fn allowed<'a>(&self, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
        static ANY: HeaderValue = HeaderValue::from_static("*");
        match &self.origin {
            Allowed::Any => Some(&ANY),
            Allowed::Mirror => origin,
            Allowed::List(origins) => origin.filter(|origin| origins.contains(origin)),
        }
    }

    const fn depends_on_origin(&self) -> bool {
        match self.origin {
            Allowed::Any => false,
            Allowed::Mirror | Allowed::List(_) => true,
        }
    }
}

impl Default for CorsOptions {
    fn default() -> Self {
        Self {
            origin: Origin::Any,
            methods: METHODS.map(str::to_owned).to_vec(),
            allowed_headers: None,
            exposed_headers: Vec::new(),
            credentials: false,
            max_age: None,
        }
    }
}

/// Adds a name to `Vary`, unless it is there or everything is.
fn vary(response: &mut HeaderMap, name: &'static str) {
    let present = |value: &HeaderValue| {
        let listed = value.to_str().unwrap_or_default();
        listed.split(',').map(str::trim).any(|known| known == "*" || known.eq_ignore_ascii_case(name))
    };
    if response.get_all(VARY).iter().any(present) {
        return;
    }
    let value = match response.get(VARY).and_then(|value| value.to_str().ok()) {
        Some(known) => HeaderValue::try_from(format!("{known}, {name}")).expect("both were header values"),
        None => HeaderValue::from_static(name),
    };
    // Only the first line is replaced; `insert` would drop the others.
    match response.get_mut(VARY) {
        Some(first) => *first = value,
        None => drop(response.insert(VARY, value)),
    }
}

/// Takes an origin as browsers write it (RFC 6454 §6.2).
fn origin_value(origin: String) -> Result<HeaderValue, CorsError> {
    let host = origin.split_once("://").map(|(_, host)| host);
    let well_formed = origin == "null" || host.is_some_and(|host| !host.contains(['/', '*', ' ', ',']));
    match HeaderValue::from_str(&origin) {
        Ok(value) if well_formed => Ok(value),
        Ok(_) | Err(_) => Err(CorsError::NoOrigin(origin)),
    }
}

/// Joins names by commas; `None`: there are none.
fn list_value(field: &'static str, names: &[String]) -> Result<Option<HeaderValue>, CorsError> {
    let token = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if let Some(wrong) = names.iter().find(|name| !token(name)) {
        return Err(CorsError::NoToken { field, value: wrong.clone() });
    }
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(HeaderValue::try_from(names.join(",")).expect("tokens and commas make a header value")))
}
