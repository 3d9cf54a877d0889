//! The tables: that of the official adapter, and two of ours where recovery is asked for. They are made where they are absent.

use tokio_postgres::{Client, Error};

use crate::config::Config;
use crate::table::Table;

/// Makes what is absent. A role that may not make tables needs only that they are there.
pub(crate) async fn prepare(client: &Client, config: &Config) -> Result<(), Error> {
    let mut absent = Vec::new();
    for (table, columns) in tables(config) {
        let found = client.query_one("SELECT to_regclass($1)::text", &[&table.as_str()]).await?;
        if found.get::<_, Option<String>>(0).is_none() {
            absent.push(create(&table, &columns));
        }
    }
    if absent.is_empty() {
        return Ok(());
    }
    // Two nodes that start at once would both make them, and one of them fail. What is sent as one text is one transaction.
    let statements = absent.join("\n");
    client.batch_execute(&format!("SELECT pg_advisory_xact_lock({MAKING});\n{statements}")).await
}

/// What a name is hashed with, by nodes of every version alike (FNV-1a), for `pg_advisory_xact_lock(int, int)`.
pub(crate) fn lock_key(text: &str) -> i32 {
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed()
}

/// "sockeye" as a number.
const MAKING: i64 = 0x73_6f_63_6b_65_79_65;

fn create(table: &Table, columns: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {table} ({columns});")
}

fn tables(config: &Config) -> Vec<(Table, String)> {
    // As in the official documentation.
    let attachments = "id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea".to_owned();
    let mut tables = vec![(config.attachments.clone(), attachments)];
    if let Some(recovery) = &config.recovery {
        // `rooms` serves to find; what counts is in `payload`, an envelope. Without a payload: a mark at which a namespace begins.
        // The time is that of the insertion and not of the transaction, which may have waited for another.
        let events = "nsp text NOT NULL, id bigserial NOT NULL, \
             created_at timestamptz NOT NULL DEFAULT clock_timestamp(), \
             rooms text[] NOT NULL, payload bytea, PRIMARY KEY (nsp, id)";
        let sessions = "nsp text NOT NULL, pid text NOT NULL, expires_at timestamptz NOT NULL, start bigint NOT NULL, \
             sid text NOT NULL, rooms text NOT NULL, data bytea NOT NULL, PRIMARY KEY (nsp, pid)";
        tables.push((recovery.events.clone(), events.to_owned()));
        tables.push((recovery.sessions.clone(), sessions.to_owned()));
    }
    tables
}
