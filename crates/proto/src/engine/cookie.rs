//! The cookie that a polling handshake may set, for balancers that route by one. The server itself never reads it.
//!
//! As the `cookie` option of the official server, by way of its package of the same name. Absent: `Expires`, for which
//! `Max-Age` serves, and a value of one's own: it is always the session's id.

use std::fmt;
use std::time::Duration;

use crate::sid::Sid;

/// What the cookie is called and who gets it back; it cannot hold what no header may.
///
/// ```
/// use sockeye_proto::engine::Cookie;
/// # let sid = "AAAAAAAAAAAAAAAAAAAA".parse().unwrap();
///
/// assert_eq!(Cookie::default().header(sid), "io=AAAAAAAAAAAAAAAAAAAA; Path=/; HttpOnly; SameSite=Lax");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    path: String,
    domain: String,
    max_age: Option<Duration>,
    http_only: bool,
    secure: bool,
    partitioned: bool,
    priority: Option<Priority>,
    same_site: Option<SameSite>,
}

/// Which cookies a browser keeps where it has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Goes first.
    Low,
    /// What a browser takes it for if nothing is said.
    Medium,
    /// Goes last.
    High,
}

/// Whether a browser sends it along with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    Lax,
    /// Always; browsers want [`Cookie::secure`] with it.
    None,
}

impl Default for Cookie {
    /// The official server's `cookie: true`.
    fn default() -> Self {
        Self {
            name: "io".into(),
            path: "/".into(),
            domain: String::new(),
            max_age: None,
            http_only: true,
            secure: false,
            partitioned: false,
            priority: None,
            same_site: Some(SameSite::Lax),
        }
    }
}

impl Cookie {
    /// Names it; all else is as in the default.
    ///
    /// # Errors
    ///
    /// The name is no token of HTTP.
    pub fn new(name: &str) -> Result<Self, CookieError> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(CookieError::Name);
        }
        Ok(Self { name: name.into(), ..Self::default() })
    }

    /// Below which path it is sent back; none if it is empty.
    ///
    /// # Errors
    ///
    /// The path has a character that no header or no attribute may have.
    pub fn path(mut self, path: &str) -> Result<Self, CookieError> {
        if !path.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b';' | b'<')) {
            return Err(CookieError::Path);
        }
        self.path = path.into();
        Ok(self)
    }

    /// To which hosts it is sent back, other than the one that set it; none if it is empty.
    ///
    /// # Errors
    ///
    /// It is no name of a host.
    pub fn domain(mut self, domain: &str) -> Result<Self, CookieError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let labels = domain.strip_prefix('.').unwrap_or(domain);
        if !domain.is_empty() && !labels.split('.').all(label) {
            return Err(CookieError::Domain);
        }
        self.domain = domain.into();
        Ok(self)
    }

    /// How long a browser keeps it, in whole seconds; as long as it runs if nothing is said.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether scripts of a page cannot read it. Default true.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Whether it is only sent over TLS. Default false.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether each top-level site has one of its own. Default false.
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Which cookies go first. Default none.
    #[must_use]
    pub fn priority(mut self, priority: Option<Priority>) -> Self {
        self.priority = priority;
        self
    }

    /// Whether other sites' requests carry it. Default [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: Option<SameSite>) -> Self {
        self.same_site = same_site;
        self
    }

    /// The value of `Set-Cookie` for a session; ASCII without controls.
    #[must_use]
    pub fn header(&self, sid: Sid) -> String {
        let mut header = format!("{}={sid}", self.name);
        let mut attribute =
            |name: &str, value: &dyn fmt::Display| header.push_str(&format!("; {name}{value}"));
        if let Some(max_age) = self.max_age {
            attribute("Max-Age=", &max_age.as_secs());
        }
        for (name, value) in [("Domain=", &self.domain), ("Path=", &self.path)] {
            if !value.is_empty() {
                attribute(name, value);
            }
        }
        for (name, is_set) in
            [("HttpOnly", self.http_only), ("Secure", self.secure), ("Partitioned", self.partitioned)]
        {
            if is_set {
                attribute(name, &"");
            }
        }
        match self.priority {
            None => {}
            Some(Priority::Low) => attribute("Priority=", &"Low"),
            Some(Priority::Medium) => attribute("Priority=", &"Medium"),
            Some(Priority::High) => attribute("Priority=", &"High"),
        }
        match self.same_site {
            None => {}
            Some(SameSite::Strict) => attribute("SameSite=", &"Strict"),
            Some(SameSite::Lax) => attribute("SameSite=", &"Lax"),
            Some(SameSite::None) => attribute("SameSite=", &"None"),
        }
        header
    }
}

/// A cookie that no header can carry: whoever configures the server has to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// The name.
    #[error("expected a cookie name of letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    /// The path.
    #[error("expected a cookie path of printable ASCII without ; and <")]
    Path,
    /// The domain.
    #[error("expected a cookie domain that is the name of a host")]
    Domain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_official_ones() -> Result<(), CookieError> {
        let full = Cookie::new("sid")?
            .path("/a b")?
            .domain(".Example.com")?
            .max_age(Duration::from_millis(86_400_900))
            .secure(true)
            .partitioned(true)
            .priority(Some(Priority::High))
            .same_site(Some(SameSite::None));
        for (cookie, header) in [
            (Cookie::default(), "io=S; Path=/; HttpOnly; SameSite=Lax"),
            (
                full,
                "sid=S; Max-Age=86400; Domain=.Example.com; Path=/a b; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None",
            ),
            (Cookie::new("x")?.path("")?.http_only(false).same_site(None), "x=S"),
            (
                Cookie::default().priority(Some(Priority::Low)).same_site(Some(SameSite::Strict)),
                "io=S; Path=/; HttpOnly; Priority=Low; SameSite=Strict",
            ),
            (
                Cookie::default().priority(Some(Priority::Medium)),
                "io=S; Path=/; HttpOnly; Priority=Medium; SameSite=Lax",
            ),
        ] {
            let sid = "AAAAAAAAAAAAAAAAAAAA";
            assert_eq!(
                cookie.header(sid.parse().expect("it is a sid")),
                header.replacen("=S", &format!("={sid}"), 1)
            );
        }
        Ok(())
    }

    #[test]
    fn what_no_header_can_carry_is_no_cookie() {
        for name in ["", "a b", "a=b", "a;b", "a\r\n", "é", "a\0", "a,b", "a\"b", "(a)"] {
            assert_eq!(Cookie::new(name), Err(CookieError::Name), "{name}");
        }
        for path in ["/;", "/<", "/\n", "/é", "/\u{7f}", "/a\r\nSet-Cookie: x"] {
            assert_eq!(Cookie::default().path(path), Err(CookieError::Path), "{path}");
        }
        let long = "a".repeat(64);
        for domain in [".", "..a", "a.", "a..b", "-a", "a-", "a b", "a;b", "é", "a/b", "*.a", &long] {
            assert_eq!(Cookie::default().domain(domain), Err(CookieError::Domain), "{domain}");
        }
        for domain in ["", "a", ".a", "a-b.c", "127.0.0.1", &long[1..]] {
            assert!(Cookie::default().domain(domain).is_ok(), "{domain}");
        }
    }
}
