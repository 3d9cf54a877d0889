//! A file, sent in pieces of bytes. The sender waits for the ack of each piece, so neither side holds more than one.
//!
//! `cargo run -p sockeye --example upload`. In the browser:
//!
//! ```js
//! const { id } = await socket.emitWithAck("begin", { name: file.name, size: file.size });
//! for (let at = 0; at < file.size; at += 65536) {
//!   await socket.emitWithAck("piece", id, await file.slice(at, at + 65536).arrayBuffer());
//! }
//! console.log(await socket.emitWithAck("end", id)); // { name, size }
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sockeye::{Config, DisconnectReason, Event, HandlerError, Server, Socket, SocketId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is not whole yet, by its sender and number. A sender's uploads go with it.
type Uploads = Arc<Mutex<HashMap<(SocketId, u64), Upload>>>;

/// The longest file, in bytes. A server of many would write to a disk.
const FILE_BYTES_MAX: usize = 16 << 20;

/// How many files one client may send at a time.
const UPLOADS_MAX: usize = 4;

#[derive(Deserialize, Serialize)]
struct File {
    name: String,
    size: usize,
}

struct Upload {
    file: File,
    content: Vec<u8>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let uploads = Uploads::default();
    let (begun, grown, ended) = (uploads.clone(), uploads.clone(), uploads.clone());
    let mut io = Server::new(Config::default());
    io.namespace("/")
        .on("begin", move |event: Event| {
            let answer = begin(&begun, &event);
            async move { event.ack(answer?).map_err(HandlerError::from) }
        })
        .on("piece", move |event: Event| {
            let answer = grow(&grown, &event);
            async move { event.ack(answer?).map_err(HandlerError::from) }
        })
        .on("end", move |event: Event| {
            let answer = end(&ended, &event);
            async move { event.ack(answer?).map_err(HandlerError::from) }
        })
        .on_disconnect(move |socket: Socket, _: DisconnectReason| {
            lock(&uploads).retain(|(sender, _), _| *sender != socket.id());
            async move { sockeye::Ok(()) }
        });
    io.listen(("127.0.0.1", port)).await
}

fn begin(uploads: &Uploads, event: &Event) -> sockeye::Result<serde_json::Value> {
    let file: File = event.data()?;
    let sender = event.socket().id();
    let mut uploads = lock(uploads);
    let own = uploads.keys().filter(|(other, _)| *other == sender).count();
    if file.size > FILE_BYTES_MAX || own >= UPLOADS_MAX {
        return Ok(json!({"error": "too long, or too many at a time"}));
    }
    let id = (0..).find(|id| !uploads.contains_key(&(sender, *id))).unwrap_or_default();
    uploads.insert((sender, id), Upload { file, content: Vec::new() });
    Ok(json!({"id": id}))
}

fn grow(uploads: &Uploads, event: &Event) -> sockeye::Result<serde_json::Value> {
    // `Bytes` is a binary attachment; it shares the memory of the frame that came.
    let (id, piece): (u64, Bytes) = event.data()?;
    let mut uploads = lock(uploads);
    let Some(upload) = uploads.get_mut(&(event.socket().id(), id)) else {
        return Ok(json!({"error": "no such upload"}));
    };
    if upload.content.len() + piece.len() > upload.file.size {
        return Ok(json!({"error": "longer than it was said to be"}));
    }
    upload.content.extend_from_slice(&piece);
    Ok(json!({"have": upload.content.len()}))
}

fn end(uploads: &Uploads, event: &Event) -> sockeye::Result<serde_json::Value> {
    let id: u64 = event.data()?;
    let Some(Upload { file, content }) = lock(uploads).remove(&(event.socket().id(), id)) else {
        return Ok(json!({"error": "no such upload"}));
    };
    let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
    Ok(json!({"name": file.name, "size": content.len(), "sum": sum}))
}

fn lock(uploads: &Uploads) -> std::sync::MutexGuard<'_, HashMap<(SocketId, u64), Upload>> {
    uploads.lock().unwrap_or_else(PoisonError::into_inner)
}
