//! Which variables are secret by their name, and how a secret is shown. Pure.

/// Parts of names, in capitals, whose values are not shown.
const SECRET: [&str; 17] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PRIVATE",
    "CREDENTIAL",
    "AUTH",
    "COOKIE",
    "SESSION",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "SIGNING",
    "SALT",
    "JWT",
    "DSN",
];

/// How names of secrets end. `PWD` and `OLDPWD` are directories.
const SECRET_ENDS: [&str; 4] = ["_KEY", "PASS", "_PWD", "_PAT"];

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "******";

/// A value as it may be shown.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) && !value.is_empty() {
        return MASK.to_owned();
    }
    address(value)
}

/// The arguments of a program as they may be shown: `--token TEXT`, `--token=TEXT`, `TOKEN=TEXT` without the text, and addresses without passwords.
pub(crate) fn arguments(words: &[String]) -> Vec<String> {
    let mut is_value = false;
    let show = |word: &String| {
        let is_flag = word.starts_with('-');
        if std::mem::take(&mut is_value) && !is_flag {
            return MASK.to_owned();
        }
        match word.split_once('=') {
            Some((name, value)) if !name.contains("://") => format!("{name}={}", shown(name, value)),
            _ => {
                is_value = is_flag && is_secret(word);
                address(word)
            }
        }
    };
    words.iter().map(show).collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_uppercase().replace('-', "_");
    SECRET.iter().any(|part| name.contains(part))
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
        || name == "KEY"
}

/// A password in an address is a secret whatever the variable is called.
fn address(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((account, _)) = authority.rsplit_once('@') else { return value.to_owned() };
    let user = account.split(':').next().unwrap_or_default();
    let tail = &rest[account.len()..];
    format!("{scheme}://{user}:{MASK}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_and_passwords_by_place() {
        for (name, value, expected) in [
            ("HOME", "/root", "/root"),
            ("DB_PASSWORD", "x", MASK),
            ("db_password", "x", MASK),
            ("GITHUB_TOKEN", "x", MASK),
            ("AWS_SECRET_ACCESS_KEY", "x", MASK),
            ("STRIPE_KEY", "x", MASK),
            ("KEYBOARD", "us", "us"),
            ("PGPASS", "x", MASK),
            ("MYSQL_PWD", "x", MASK),
            ("GITHUB_PAT", "x", MASK),
            ("JWT", "x", MASK),
            ("DATABASE_DSN", "user:pw@tcp(host)/d", MASK),
            ("OLDPWD", "/srv", "/srv"),
            ("PATH", "/bin", "/bin"),
            ("EMPTY_TOKEN", "", ""),
            ("REDIS_URL", "redis://user:hunter2@host:6379/0", "redis://user:******@host:6379/0"),
            ("REDIS_URL", "redis://:hunter2@host", "redis://:******@host"),
            ("REDIS_URL", "redis://host:6379", "redis://host:6379"),
            ("MAIL", "a@b", "a@b"),
        ] {
            assert_eq!(shown(name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn arguments_are_shown_without_what_their_flags_say_is_secret() {
        let said =
            |words: &[&str]| arguments(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        for (words, expected) in [
            (&["--token", "s3cr3t", "x"][..], &["--token", MASK, "x"][..]),
            (&["--password=hunter2"], &["--password=******"]),
            (&["--api-key", "k", "--verbose"], &["--api-key", MASK, "--verbose"]),
            (&["--token", "--verbose"], &["--token", "--verbose"]),
            (&["DB_PASS=x", "-p", "3000"], &["DB_PASS=******", "-p", "3000"]),
            (&["redis://:pw@host?a=b"], &["redis://:******@host?a=b"]),
        ] {
            assert_eq!(said(words), expected);
        }
    }
}
