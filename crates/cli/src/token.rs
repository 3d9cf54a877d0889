//! The operator's token: from the text or from the file that settings name.

use anyhow::{Context, bail};
use sockeye_settings::Token;

/// The token itself.
pub(crate) fn read(token: &Token) -> anyhow::Result<String> {
    match token {
        Token::Text(text) => Ok(text.clone()),
        Token::File(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("admin.token_file: cannot read {}", path.display()))?;
            let text = text.trim().to_owned();
            if text.len() < sockeye_settings::TOKEN_CHARACTERS_MIN {
                bail!(
                    "admin.token_file: {} holds fewer than {} characters: openssl rand -hex 32 makes a token",
                    path.display(),
                    sockeye_settings::TOKEN_CHARACTERS_MIN
                );
            }
            Ok(text)
        }
    }
}
