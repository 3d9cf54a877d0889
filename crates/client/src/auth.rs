//! Credentials.

use crate::error::JoinError;
use serde::Serialize;
use serde_json::Value;

/// Credentials as the JSON of an object.
pub(crate) fn auth_json(auth: &impl Serialize) -> Result<String, JoinError> {
    match serde_json::to_value(auth) {
        Ok(Value::Object(object)) => Ok(Value::Object(object).to_string()),
        Ok(other) => Err(JoinError::Auth(format!("got {other}"))),
        Err(error) => Err(JoinError::Auth(error.to_string())),
    }
}
