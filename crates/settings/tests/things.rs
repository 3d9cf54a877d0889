//! What a file names on the machine is looked at where it is written, and what is hardly meant is a warning.

mod common;

use common::{refused_where_nothing_is, warned};

#[test]
fn what_cannot_be_used_is_told_at_its_key() {
    for (text, place) in [
        ("[listen]\ncertificate = 'a'\nkey = 'b'", "f.toml:3:7: listen.key = 'b': cannot be used"),
        ("[tls]\ncertificate = 'a'\nkey = 'b'", "f.toml:3:7: tls.key = 'b': cannot be used"),
        ("listen = 'unix:/a/b'", "f.toml:1:10: listen = 'unix:/a/b': cannot be used"),
        ("[listen]\naddress = 'unix:/a/b'", "f.toml:2:11: listen.address = 'unix:/a/b': cannot be used"),
        ("admin = 'unix:/a/b'", "f.toml:1:9: admin = 'unix:/a/b': cannot be used"),
        ("[admin]\ntoken_file = 'nope'", "f.toml:2:14: admin.token_file = 'nope': cannot be used"),
        ("access_log = '/a/b'", "f.toml:1:14: access_log = '/a/b': cannot be used"),
        ("[access_log]\npath = '/a/b'", "f.toml:2:8: access_log.path = '/a/b': cannot be used"),
        ("[[site]]\nfiles = 'a'", "f.toml:2:9: site.files = 'a': cannot be used"),
        ("[app.x]\ncommand = 'nosuchcmd'", "f.toml:2:11: app.x.command = 'nosuchcmd': cannot be used"),
    ] {
        assert_eq!(refused_where_nothing_is(text), place);
    }
}

#[test]
fn what_is_hardly_meant_is_a_warning_with_its_line() {
    let two = "[upstream.a]\nservers = ['127.0.0.1:1']\n[upstream.b]\nservers = ['127.0.0.1:2']\n";
    for (text, expected) in [
        (
            "[listen]\nredirect = 'https'".to_owned(),
            "f.toml:2:12: listen.redirect = 'https': each request gets a 400",
        ),
        (format!("{two}[[site]]\nupstream = 'a'"), "f.toml:3:11: upstream.b: nobody leads here"),
        (
            format!("{two}[[site]]\nupstream = 'a'\n[[site]]\npath = '/b'\nupstream = 'b'"),
            "f.toml:7:1: site.1: nothing comes here",
        ),
        (
            format!("{two}[[site]]\nupstream = 'a'\n[listen]\nupstream = 'b'"),
            "f.toml:7:1: listen.upstream: nothing comes to b",
        ),
    ] {
        let told = warned(&text);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{text}: {told:?}");
    }
    for text in [
        "[listen]\nredirect = 'https'\nserver_names = ['a.b']".to_owned(),
        "[listen]\nredirect = 'https://a.b'".to_owned(),
        "[[site]]\nhost = 'a.b'\nredirect = 'https'".to_owned(),
        format!("{two}[[site]]\npath = '/b'\nupstream = 'b'\n[[site]]\nupstream = 'a'"),
        format!(
            "{two}[[listen]]\naddress = ':1'\nupstream = 'a'\n[[listen]]\naddress = ':2'\nupstream = 'b'"
        ),
    ] {
        assert_eq!(warned(&text), Vec::<String>::new(), "{text}");
    }
}
