//! The six ways to refuse a request, byte for byte.

/// Why a request gets no session; the discriminant is the official code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// `transport` is missing, unknown or not enabled.
    UnknownTransport = 0,
    /// No session has this sid.
    UnknownSid = 1,
    /// A handshake that is not a GET.
    BadHandshakeMethod = 2,
    /// A request that contradicts its session, or itself.
    BadRequest = 3,
    /// A guard said no.
    Forbidden = 4,
    /// An `EIO` that is not served.
    UnsupportedProtocol = 5,
}

impl Refusal {
    /// The official code.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The official message.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }

    /// The status of the answer to a plain request; an upgrade is always refused with 400.
    #[must_use]
    pub fn status_polling(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::UnknownTransport
            | Self::UnknownSid
            | Self::BadHandshakeMethod
            | Self::BadRequest
            | Self::UnsupportedProtocol => 400,
        }
    }

    /// The JSON body of the answer to a plain request.
    #[must_use]
    pub fn body(self) -> String {
        self.body_with(self.message())
    }

    /// The JSON body with a message of one's own, as a guard may give.
    #[must_use]
    pub fn body_with(self, message: &str) -> String {
        let message = serde_json::Value::from(message);
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }

    /// The whole raw answer to an upgrade request; the connection is closed after it.
    #[must_use]
    pub fn upgrade_reply(self) -> Vec<u8> {
        Self::upgrade_reply_with(self.message())
    }

    /// The whole raw answer to an upgrade request with a message of one's own.
    #[must_use]
    pub fn upgrade_reply_with(message: &str) -> Vec<u8> {
        let length = message.len();
        format!(
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\n\
             Content-Length: {length}\r\n\r\n{message}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_the_official_bytes() {
        for (refusal, status, body) in [
            (Refusal::UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (Refusal::UnknownSid, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (Refusal::BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (Refusal::BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
            (Refusal::Forbidden, 403, r#"{"code":4,"message":"Forbidden"}"#),
            (Refusal::UnsupportedProtocol, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ] {
            assert_eq!((refusal.status_polling(), &*refusal.body()), (status, body));
        }
        assert_eq!(Refusal::Forbidden.body_with("no \"you\""), r#"{"code":4,"message":"no \"you\""}"#);
        assert_eq!(
            Refusal::UnknownSid.upgrade_reply(),
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: 18\r\n\r\nSession ID unknown"
        );
        assert!(Refusal::upgrade_reply_with("€").ends_with("Content-Length: 3\r\n\r\n€".as_bytes()));
    }
}
