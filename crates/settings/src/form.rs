//! What a short form stands for, where a variable says something below it: `admin = "127.0.0.1:9000"` is `[admin]` with `address`.

use crate::desk::elements;
use crate::place::Place;
use crate::tree::{Entry, Node, Table, Value};

/// What is written at a place, as far as it has a short form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `listen`, or one of them.
    Listen,
    /// `upstream`: a list of addresses is a group that needs no name.
    Groups,
    /// `upstream.NAME`.
    Group,
    /// `upstream.NAME.servers`, or one of them.
    Server,
    /// `upstream.NAME.cookie`.
    Cookie,
    /// `upstream.NAME.health`.
    Health,
    /// `admin`.
    Admin,
    /// `access_log`.
    AccessLog,
    /// `site` and `tls`: one table, or several.
    Tables,
    /// Anything else.
    Plain,
}

impl Form {
    /// That of a section.
    pub(crate) fn of(section: &str) -> Self {
        match section {
            "listen" => Self::Listen,
            "upstream" => Self::Groups,
            "admin" => Self::Admin,
            "access_log" => Self::AccessLog,
            "site" | "tls" => Self::Tables,
            _ => Self::Plain,
        }
    }

    /// That of a key of its table.
    pub(crate) fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::Groups, _) => Self::Group,
            (Self::Group, "servers") => Self::Server,
            (Self::Group, "cookie") => Self::Cookie,
            (Self::Group, "health") => Self::Health,
            _ => Self::Plain,
        }
    }

    /// That of an element of its list.
    pub(crate) fn element(self) -> Self {
        match self {
            Self::Groups | Self::Group | Self::Server => Self::Server,
            Self::Listen => Self::Listen,
            Self::Cookie | Self::Health | Self::Admin | Self::AccessLog | Self::Tables | Self::Plain => {
                Self::Plain
            }
        }
    }

    /// Makes of a value what something can be said below, of an element or of a key: a list, or the table that it stands for.
    pub(crate) fn unfold(self, node: &mut Node, of_element: bool) {
        let is_list = matches!(node.value, Value::List(_));
        let is_table = matches!(node.value, Value::Table(_));
        let lists = match self {
            Self::Listen | Self::Tables => true,
            Self::Groups | Self::Group | Self::Server => !is_table,
            Self::Cookie | Self::Health | Self::Admin | Self::AccessLog | Self::Plain => false,
        };
        if of_element {
            if lists && !is_list {
                node.value = Value::List(elements(node));
            }
            return;
        }
        let key = match self {
            Self::Groups => "upstream",
            Self::Group => "servers",
            Self::Listen | Self::Server | Self::Admin => "address",
            Self::Cookie => "name",
            Self::Health => "check",
            Self::AccessLog => "path",
            Self::Tables | Self::Plain => return,
        };
        let takes_lists = matches!(self, Self::Groups | Self::Group);
        if is_table || is_list && !takes_lists {
            return;
        }
        let place: Place = node.place.clone();
        let short = std::mem::replace(&mut node.value, Value::Table(Table::new()));
        let entry = Entry { key: place.clone(), node: Node { place, value: short } };
        node.value = Value::Table(Table::from([(key.to_owned(), entry)]));
    }
}
