//! The client's half of a handshake: one offer out, the answer in.

use super::agreement::Agreement;
use super::config::{DeflateConfig, Limit};
use super::grammar;
use super::params::{NAME, Param, Params};
use super::window::Window;

/// The server answered what it must not; the client fails the connection: RFC 6455 §4.1, RFC 7692 §7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not the grammar of the field.
    #[error("Sec-WebSocket-Extensions is malformed")]
    Malformed,
    /// An extension that was not offered, or one twice.
    #[error("the server answered an extension that was not offered")]
    NotOffered,
    /// A parameter that is unknown, stands twice or has no valid value.
    #[error("a parameter of permessage-deflate is invalid")]
    Invalid,
    /// A parameter that goes against the offer, or lacks what the offer demanded.
    #[error("the answer does not keep to the offer of permessage-deflate")]
    Disregarded,
}

impl DeflateConfig {
    /// The value of a request's `Sec-WebSocket-Extensions`, as the official client writes it with the same options.
    #[must_use]
    pub fn offer(&self) -> String {
        let mut params = Params::default();
        if self.server_no_context_takeover == Some(true) {
            params.set(Param::ServerNoContextTakeover);
        }
        if self.client_no_context_takeover {
            params.set(Param::ClientNoContextTakeover);
        }
        if let Limit::To(window) = self.server_max_window_bits {
            params.set(Param::ServerMaxWindowBits(window));
        }
        match self.client_max_window_bits {
            Limit::AsOffered => params.set(Param::ClientMaxWindowBits(None)),
            Limit::To(window) => params.set(Param::ClientMaxWindowBits(Some(window))),
            Limit::Refused => {}
        }
        params.to_string()
    }

    /// Reads the values of an answer's `Sec-WebSocket-Extensions` fields; `Ok(None)`: nothing is compressed.
    ///
    /// # Errors
    ///
    /// The answer does not fit [`DeflateConfig::offer`]: close the connection.
    pub fn accept<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Agreement>, AnswerError> {
        let mut answer = None;
        for value in values {
            for extension in grammar::parse(value.trim_ascii()).ok_or(AnswerError::Malformed)? {
                if extension.name != NAME || answer.is_some() {
                    return Err(AnswerError::NotOffered);
                }
                answer = Some(Params::read(&extension).ok_or(AnswerError::Invalid)?);
            }
        }
        answer.map(|answer| self.hold_to(&answer)).transpose()
    }

    fn hold_to(&self, answer: &Params) -> Result<Agreement, AnswerError> {
        // What was demanded must be granted: §7.1.1.1, §7.1.2.1.
        let server_alone = answer.server_no_context_takeover();
        if self.server_no_context_takeover == Some(true) && !server_alone {
            return Err(AnswerError::Disregarded);
        }
        let server_window = answer.server_max_window_bits().unwrap_or(Window::MAX);
        if matches!(self.server_max_window_bits, Limit::To(most) if server_window > most) {
            return Err(AnswerError::Disregarded);
        }
        // §7.1.2.2: only with a value, and only to a client that said that it understands.
        let client_window = match (self.client_max_window_bits, answer.client_max_window_bits()) {
            (_, Some(None)) => return Err(AnswerError::Invalid),
            (Limit::Refused, Some(Some(_))) => return Err(AnswerError::Disregarded),
            (Limit::To(most), Some(Some(window))) if window > most => return Err(AnswerError::Disregarded),
            (Limit::AsOffered | Limit::To(_), Some(Some(window))) => window,
            (Limit::To(most), None) => most,
            (Limit::AsOffered | Limit::Refused, None) => Window::MAX,
        };
        Ok(Agreement {
            server_no_context_takeover: server_alone,
            // A client that offered it may do so whatever the answer: §7.1.1.2.
            client_no_context_takeover: answer.client_no_context_takeover()
                || self.client_no_context_takeover,
            server_max_window_bits: server_window,
            client_max_window_bits: client_window,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::AnswerError as E;
    use super::*;

    #[test]
    fn offers_are_written_as_by_the_official_client() {
        let to = |bits| Limit::To(Window::new(bits).unwrap());
        for (config, offer) in [
            (FREE, "permessage-deflate; client_max_window_bits"),
            (
                DeflateConfig::default(),
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            ),
            (
                DeflateConfig { server_max_window_bits: to(10), client_max_window_bits: to(9), ..FREE },
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
            ),
            (DeflateConfig { client_max_window_bits: Limit::Refused, ..FREE }, "permessage-deflate"),
        ] {
            assert_eq!(config.offer(), offer);
        }
    }

    #[test]
    fn an_answer_must_keep_to_the_offer() {
        let to = |bits| Limit::To(Window::new(bits).unwrap());
        let alone = DeflateConfig::default();
        let small = DeflateConfig { server_max_window_bits: to(10), client_max_window_bits: to(10), ..FREE };
        let refused = DeflateConfig { client_max_window_bits: Limit::Refused, ..FREE };
        for (config, answer, wanted) in [
            (FREE, "permessage-deflate", Ok((false, false, 15, 15))),
            (FREE, "permessage-deflate; client_no_context_takeover", Ok((false, true, 15, 15))),
            (
                FREE,
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
                Ok((false, false, 9, 8)),
            ),
            (alone, "permessage-deflate; server_no_context_takeover", Ok((true, true, 15, 15))),
            (alone, "permessage-deflate", Err(E::Disregarded)),
            (small, "permessage-deflate; server_max_window_bits=10", Ok((false, false, 10, 10))),
            (small, "permessage-deflate", Err(E::Disregarded)),
            (small, "permessage-deflate; server_max_window_bits=11", Err(E::Disregarded)),
            (
                small,
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=11",
                Err(E::Disregarded),
            ),
            (refused, "permessage-deflate; client_max_window_bits=10", Err(E::Disregarded)),
            (FREE, "permessage-deflate; client_max_window_bits", Err(E::Invalid)),
            (FREE, "permessage-deflate; server_max_window_bits=7", Err(E::Invalid)),
            (FREE, "permessage-deflate; x", Err(E::Invalid)),
            (FREE, "permessage-deflate, permessage-deflate", Err(E::NotOffered)),
            (FREE, "x", Err(E::NotOffered)),
            (FREE, "permessage-deflate;", Err(E::Malformed)),
        ] {
            let agreed = config.accept([answer.as_bytes()]).map(|agreed| {
                let a = agreed.expect("there is an answer");
                let windows = (a.server_max_window_bits.bits(), a.client_max_window_bits.bits());
                (a.server_no_context_takeover, a.client_no_context_takeover, windows.0, windows.1)
            });
            assert_eq!(agreed, wanted, "{answer}");
        }
        assert_eq!(FREE.accept([]), Ok(None));
    }

    const FREE: DeflateConfig = DeflateConfig::OFFICIAL;
}
