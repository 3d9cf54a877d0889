//! What must hold for any bytes that ask for compression or pretend to be compressed.

use std::sync::Arc;

use sockeye_proto::ws::deflate::{Agreement, Budget, Compressor, DeflateConfig, Limit, Role, Window};
use sockeye_proto::ws::encoder::{deflated_frame, frame, masked_deflated_frame, masked_frame};
use sockeye_proto::ws::{Decoder, Opcode};

use super::messages::{Owned, decode};

/// Compressed streams inflate to the same however they are cut, to no more than the limit, and what was understood is
/// understood again when it is compressed anew. The first byte chooses what was agreed upon.
pub fn stream(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let agreement = agreement(*choice);
    let server = choice & 0x80 == 0;
    let decoder = || {
        let decoder = if server { Decoder::new(MESSAGE_MAX) } else { Decoder::client(MESSAGE_MAX) };
        decoder.with_deflate(&agreement)
    };
    let whole = decode(decoder(), data, usize::MAX);
    let seed = data.first().map_or(1, |byte| usize::from(byte % 61) + 1);
    for size in [1, 2, 5, seed] {
        assert_eq!(decode(decoder(), data, size), whole, "in pieces of {size}");
    }
    let (messages, _) = whole;
    let mut compressor = Compressor::new();
    let mut said = Vec::new();
    for Owned(opcode, payload) in &messages {
        assert!(payload.len() <= MESSAGE_MAX);
        let mut deflated = Vec::new();
        if !opcode.is_control() {
            compressor.deflate(payload, Window::MIN, &mut deflated);
        }
        // What does not compress is over the limit by the few bytes of its blocks.
        if opcode.is_control() || deflated.len() > MESSAGE_MAX {
            said.extend(plain(server, *opcode, payload));
        } else if server {
            said.extend(masked_deflated_frame(*opcode, &deflated, [1, 2, 3, 4]));
        } else {
            said.extend(deflated_frame(*opcode, &deflated));
        }
    }
    assert_eq!(decode(decoder(), &said, usize::MAX), (messages, None));
}

/// What a server answers fits its settings and means the same to a client. The first byte chooses the settings.
pub fn offer(data: &[u8]) {
    let Some((choice, value)) = data.split_first() else { return };
    let config = config(*choice);
    let _ = config.accept([value]);
    let budget = Budget::new(usize::MAX);
    let Some(answer) = config.answer([value], &budget) else { return };
    let agreed = answer.agreement;
    assert!(answer.header.starts_with("permessage-deflate"));
    let heard = FREE.accept([answer.header.as_bytes()]);
    assert_eq!(heard, Ok(Some(agreed)), "{}", answer.header);
    if config.server_no_context_takeover == Some(true) {
        assert!(agreed.server_no_context_takeover);
    }
    assert!(agreed.client_no_context_takeover || !config.client_no_context_takeover);
    for (limit, window) in [
        (config.server_max_window_bits, agreed.server_max_window_bits),
        (config.client_max_window_bits, agreed.client_max_window_bits),
    ] {
        match limit {
            Limit::AsOffered => {}
            Limit::Refused => assert_eq!(window, Window::MAX),
            Limit::To(limit) => assert_eq!(window, limit),
        }
    }
    assert_eq!(usize::MAX - budget.left(), agreed.context_bytes(Role::Server));
    assert_eq!(answer.lease.is_some(), agreed.context_bytes(Role::Server) > 0);
    offer_without_memory(&config, value, &Budget::new(0));
}

/// The same offer is accepted where nothing is left to keep, and then nothing is kept.
fn offer_without_memory(config: &DeflateConfig, value: &[u8], budget: &Arc<Budget>) {
    let answer = config.answer([value], budget).expect("it was accepted with memory");
    assert_eq!(answer.agreement.context_bytes(Role::Server), 0);
    assert_eq!(FREE.accept([answer.header.as_bytes()]), Ok(Some(answer.agreement)));
}

fn plain(server: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    if server { masked_frame(opcode, payload, [1, 2, 3, 4]) } else { frame(opcode, payload).to_vec() }
}

fn agreement(choice: u8) -> Agreement {
    Agreement {
        server_no_context_takeover: choice & 1 != 0,
        client_no_context_takeover: choice & 2 != 0,
        server_max_window_bits: Window::MAX,
        client_max_window_bits: Window::MAX,
    }
}

fn config(choice: u8) -> DeflateConfig {
    let limit = |bits: u8| match bits & 3 {
        0 | 1 => Limit::AsOffered,
        2 => Limit::Refused,
        _ => Limit::To(Window::new(10).expect("10 is a window")),
    };
    DeflateConfig {
        server_no_context_takeover: [None, Some(true), Some(false), None][usize::from(choice & 3)],
        client_no_context_takeover: choice & 4 != 0,
        server_max_window_bits: limit(choice >> 3),
        client_max_window_bits: limit(choice >> 5),
        ..FREE
    }
}

/// Settings that want nothing.
const FREE: DeflateConfig = DeflateConfig::OFFICIAL;

const MESSAGE_MAX: usize = 1000;
