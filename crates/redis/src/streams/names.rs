//! Which stream a namespace's messages are in.

/// The streams of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Where this server writes.
    pub(crate) written: String,
    /// Where official servers write, if that is elsewhere: with several streams, their index may be negative (and none of them reads there).
    pub(crate) also_read: Option<String>,
}

impl Names {
    pub(crate) fn of(nsp: &str, stream: &str, count: i32) -> Self {
        if count <= 1 {
            return Self { written: stream.to_owned(), also_read: None };
        }
        let index = hash(nsp) % count;
        let also_read = (index < 0).then(|| format!("{stream}-{index}"));
        Self { written: format!("{stream}-{}", index.abs()), also_read }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.written).chain(self.also_read.as_deref())
    }
}

/// `hashCode` of the official adapter: over the units of JavaScript's text, in 32 bits.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_in_the_official_stream_unless_its_index_is_negative() {
        // (namespace, count, where the official adapter writes)
        let rows = [
            ("/", 1, "socket.io", None),
            ("/", 4, "socket.io-3", None),
            ("/notifications", 4, "socket.io-3", Some("socket.io--3")),
        ];
        for (nsp, count, written, also_read) in rows {
            let names = Names::of(nsp, "socket.io", count);
            assert_eq!((&*names.written, names.also_read.as_deref()), (written, also_read), "{nsp}");
        }
    }
}
