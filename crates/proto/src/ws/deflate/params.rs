//! The four parameters of permessage-deflate: RFC 7692 §7.1.

use std::fmt;
use std::mem::discriminant;

use super::grammar::Extension;
use super::window::Window;

/// The extension's name.
pub(super) const NAME: &str = "permessage-deflate";

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    ServerNoContextTakeover,
    ClientNoContextTakeover,
    ServerMaxWindowBits(Window),
    /// Without a value a client says that it understands the parameter.
    ClientMaxWindowBits(Option<Window>),
}

/// The parameters of one offer or answer, each at most once, in the order they are to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<Param>);

impl Params {
    /// Reads the parameters; `None` where one is unknown, stands twice or has no valid value.
    pub(super) fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut params = Self::default();
        for (name, value) in &extension.params {
            let param = Param::read(name, value.as_deref())?;
            if params.position(param).is_some() {
                return None;
            }
            params.0.push(param);
        }
        Some(params)
    }

    /// Puts a parameter in the place of its like, or at the end.
    pub(super) fn set(&mut self, param: Param) {
        match self.position(param) {
            Some(at) => self.0[at] = param,
            None => self.0.push(param),
        }
    }

    /// Takes the client's window out.
    pub(super) fn drop_client_window(&mut self) {
        self.0.retain(|param| !matches!(param, Param::ClientMaxWindowBits(_)));
    }

    pub(super) fn server_no_context_takeover(&self) -> bool {
        self.0.contains(&Param::ServerNoContextTakeover)
    }

    pub(super) fn client_no_context_takeover(&self) -> bool {
        self.0.contains(&Param::ClientNoContextTakeover)
    }

    pub(super) fn server_max_window_bits(&self) -> Option<Window> {
        self.0.iter().find_map(|param| match param {
            Param::ServerMaxWindowBits(window) => Some(*window),
            Param::ServerNoContextTakeover
            | Param::ClientNoContextTakeover
            | Param::ClientMaxWindowBits(_) => None,
        })
    }

    /// Outer: whether the parameter is there. Inner: whether it has a value.
    pub(super) fn client_max_window_bits(&self) -> Option<Option<Window>> {
        self.0.iter().find_map(|param| match param {
            Param::ClientMaxWindowBits(window) => Some(*window),
            Param::ServerNoContextTakeover
            | Param::ClientNoContextTakeover
            | Param::ServerMaxWindowBits(_) => None,
        })
    }

    fn position(&self, param: Param) -> Option<usize> {
        self.0.iter().position(|other| discriminant(other) == discriminant(&param))
    }
}

impl Param {
    fn read(name: &str, value: Option<&str>) -> Option<Self> {
        match (name, value) {
            ("server_no_context_takeover", None) => Some(Self::ServerNoContextTakeover),
            ("client_no_context_takeover", None) => Some(Self::ClientNoContextTakeover),
            ("server_max_window_bits", Some(value)) => Window::parse(value).map(Self::ServerMaxWindowBits),
            ("client_max_window_bits", None) => Some(Self::ClientMaxWindowBits(None)),
            ("client_max_window_bits", Some(value)) => {
                Window::parse(value).map(|window| Self::ClientMaxWindowBits(Some(window)))
            }
            _ => None,
        }
    }
}

/// As the extension stands in a field.
impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        self.0.iter().try_for_each(|param| match param {
            Param::ServerNoContextTakeover => f.write_str("; server_no_context_takeover"),
            Param::ClientNoContextTakeover => f.write_str("; client_no_context_takeover"),
            Param::ServerMaxWindowBits(window) => write!(f, "; server_max_window_bits={window}"),
            Param::ClientMaxWindowBits(Some(window)) => write!(f, "; client_max_window_bits={window}"),
            Param::ClientMaxWindowBits(None) => f.write_str("; client_max_window_bits"),
        })
    }
}
