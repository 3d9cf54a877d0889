//! The grammar of `Sec-WebSocket-Extensions`: RFC 6455 §9.1.
//!
//! It knows no extension. As in the official server whitespace may stand around `;` and `,`, none around `=`, and no
//! element may be empty.

use std::borrow::Cow;

/// One extension of a list, with its parameters in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name.
    pub name: &'a str,
    /// Names and values, quotes taken off.
    pub params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Reads one field's value; `None` where it is malformed.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Vec<Extension<'_>>> {
    // A quoted value is a token too, so no comma and no semicolon can stand in it.
    std::str::from_utf8(value).ok()?.split(',').map(extension).collect()
}

fn extension(text: &str) -> Option<Extension<'_>> {
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().filter(|name| is_token(name))?;
    Some(Extension { name, params: parts.map(param).collect::<Option<_>>()? })
}

fn param(text: &str) -> Option<(&str, Option<Cow<'_, str>>)> {
    let (name, value) = match text.split_once('=') {
        None => (text, None),
        Some((name, value)) => (name, Some(unquote(value)?)),
    };
    is_token(name).then_some((name, value))
}

fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return is_token(value).then_some(Cow::Borrowed(value));
    };
    let quoted = quoted.strip_suffix('"')?;
    if !quoted.contains('\\') {
        return is_token(quoted).then_some(Cow::Borrowed(quoted));
    }
    // What is escaped must be a token's character itself, so no backslash escapes another.
    let plain = quoted.replace('\\', "");
    let sound = !quoted.contains("\\\\") && !quoted.ends_with('\\');
    (sound && is_token(&plain)).then_some(Cow::Owned(plain))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_the_official_server_reads_it() {
        check("a", "a");
        check("a,b", "a, b");
        check("a ;\tb ; c=1 , a;d=\"2\"", "a; b; c=1, a; d=2");
        check("a; b=\"1\\0\"", "a; b=10");
        check("a; b=\"\\1\\0\"", "a; b=10");
        check(" a ", "a");
        for bad in [
            "",
            ",",
            "a,",
            ",a",
            "a;",
            "a;;b",
            "a; =1",
            "a; b=",
            "a; b =1",
            "a; b= 1",
            "a; b=\"\"",
            "a; b=\"1",
            "a; b=1\"",
            "a; b=\"1\"0",
            "a; b=\"1 0\"",
            "a; b=\"1,0\"",
            "a; b=\"1\\\"",
            "a; b=\"1\\\\0\"",
            "a b",
            "a/b",
            "a; b=c=d",
            "ä",
            "a\0",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(b"a\xFF"), None);
    }

    fn check(value: &str, wanted: &str) {
        let list = parse(value.as_bytes()).unwrap_or_else(|| panic!("{value}"));
        let words: Vec<String> = list.iter().map(write).collect();
        assert_eq!(words.join(", "), wanted, "{value}");
    }

    fn write(extension: &Extension<'_>) -> String {
        let params = extension.params.iter().map(|(name, value)| match value {
            None => format!("; {name}"),
            Some(value) => format!("; {name}={value}"),
        });
        std::iter::once(extension.name.to_owned()).chain(params).collect()
    }
}
