//! The cookie of a polling session, for balancers that want one.

use sockeye_proto::sid::Sid;

/// A cookie that holds the session's id, set by the answer that opens a session by polling (the official `cookie`). Sockeye never
/// reads it.
///
/// ```
/// use sockeye::{Config, Cookie};
///
/// let config = Config { cookie: Some(Cookie { secure: true, ..Cookie::default() }), ..Config::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name. Default `io`.
    pub name: String,
    /// How long it lives, in seconds. Default none: as long as the browser runs.
    pub max_age: Option<u64>,
    /// Which hosts get it. Default none: this one.
    pub domain: Option<String>,
    /// Which paths get it. Default `/`.
    pub path: Option<String>,
    /// Whether scripts cannot read it. Default `true`.
    pub http_only: bool,
    /// Whether it is sent over TLS alone. Default `false`.
    pub secure: bool,
    /// Who may cause it to be sent. Default `Lax`.
    pub same_site: Option<SameSite>,
}

/// Which sites may cause a cookie to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Its own.
    Strict,
    /// Others by a link.
    Lax,
    /// Any; browsers want `secure` then.
    None,
}

impl Cookie {
    /// The header's value, as the official server writes it.
    pub(crate) fn header(&self, sid: Sid) -> String {
        let mut text = format!("{}={sid}", self.name);
        let max_age = self.max_age.map(|seconds| seconds.to_string());
        for (name, value) in [("Max-Age", &max_age), ("Domain", &self.domain), ("Path", &self.path)] {
            for part in value.iter().flat_map(|value| ["; ", name, "=", value]) {
                text.push_str(part);
            }
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        text
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            max_age: None,
            domain: None,
            path: Some("/".to_owned()),
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
        }
    }
}
