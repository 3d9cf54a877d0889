//! Which variables are secret by their name, and how a secret is shown. Pure.

/// Parts of names, in capitals, whose values are not shown.
const SECRET: [&str; 15] = [
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
];

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "******";

/// A value as it may be shown.
pub(crate) fn shown(name: &str, value: &str) -> String {
    let name = name.to_ascii_uppercase();
    let is_secret = SECRET.iter().any(|part| name.contains(part))
        || name.ends_with("_KEY")
        || name.ends_with("_PASS")
        || name == "KEY";
    if is_secret && !value.is_empty() {
        return MASK.to_owned();
    }
    address(value)
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
            ("EMPTY_TOKEN", "", ""),
            ("REDIS_URL", "redis://user:hunter2@host:6379/0", "redis://user:******@host:6379/0"),
            ("REDIS_URL", "redis://:hunter2@host", "redis://:******@host"),
            ("REDIS_URL", "redis://host:6379", "redis://host:6379"),
            ("MAIL", "a@b", "a@b"),
        ] {
            assert_eq!(shown(name, value), expected, "{name}={value}");
        }
    }
}
