//! The Autobahn test suite against an echo server made of the decoder, the encoder and the compressors.
//!
//! It runs where `AUTOBAHN` names its program (`wstest` of PyPI's `autobahntestsuite`, for Python 2.7), for the cases that
//! `AUTOBAHN_CASES` lists (`1.*,12.1.1`; default: all 517, eight minutes with --release). What it sends stands as rows in `tests/vectors.rs` too.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::{env, fs, thread};

use serde_json::{Value, json};
use sockeye_proto::http::{Head, Status};
use sockeye_proto::ws::deflate::{Agreement, Budget, Compressor, DeflateConfig, Deflater};
use sockeye_proto::ws::encoder::{close, close_payload, deflated_frame, frame};
use sockeye_proto::ws::handshake::switching_protocols;
use sockeye_proto::ws::{Decoder, Message, Opcode};

#[test]
fn every_case_passes_strictly() {
    let Ok(wstest) = env::var("AUTOBAHN") else {
        println!("skipped: AUTOBAHN does not name wstest");
        return;
    };
    let cases = env::var("AUTOBAHN_CASES").unwrap_or_else(|_| "*".to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Half of the cases end in a connection that breaks off.
            thread::spawn(move || stream.and_then(serve));
        }
    });
    let reports = Path::new(env!("CARGO_TARGET_TMPDIR")).join("autobahn");
    fs::create_dir_all(&reports).expect("the target directory can be written");
    let spec = json!({
        "outdir": reports,
        "servers": [{"agent": "sockeye", "url": format!("ws://127.0.0.1:{port}")}],
        "cases": cases.split(',').collect::<Vec<_>>(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let spec_file = reports.join("spec.json");
    fs::write(&spec_file, spec.to_string()).expect("the target directory can be written");
    let status = Command::new(wstest)
        .args(["-m", "fuzzingclient", "-s"])
        .arg(&spec_file)
        .current_dir(&reports)
        .status();
    assert!(status.expect("wstest runs").success());

    let index = fs::read_to_string(reports.join("index.json")).expect("wstest wrote its report");
    let index: Value = serde_json::from_str(&index).expect("the report is JSON");
    let results = index["sockeye"].as_object().expect("the report is about us");
    let failed: Vec<_> = results.iter().filter(|(_, result)| !is_strict(result)).collect();
    println!("{} cases, {} not strict", results.len(), failed.len());
    assert!(failed.is_empty() && !results.is_empty(), "{failed:#?}");
}

/// Informational cases only ask what one does.
fn is_strict(result: &Value) -> bool {
    let word = |name: &str| matches!(result[name].as_str(), Some("OK" | "INFORMATIONAL"));
    word("behavior") && word("behaviorClose")
}

/// Echoes all messages of one connection, compressed where that was agreed upon.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    let (agreement, head_length) = shake_hands(&mut stream, &mut read)?;
    let mut decoder = Decoder::new(64 << 20);
    if let Some(agreement) = &agreement {
        decoder = decoder.with_deflate(agreement);
    }
    let mut echo = Echo::new(agreement);
    let mut buffer = vec![0; 64 << 10];
    let mut input = &mut read[head_length..];
    loop {
        let mut out = Vec::new();
        let over = loop {
            match decoder.decode(&mut input) {
                Ok(None) => break false,
                Ok(Some(Message::Text(text))) => echo.data(Opcode::Text, text.as_bytes(), &mut out),
                Ok(Some(Message::Binary(bytes))) => echo.data(Opcode::Binary, bytes, &mut out),
                Ok(Some(Message::Ping(bytes))) => out.extend(frame(Opcode::Pong, bytes)),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(reason))) => {
                    let code = reason.map_or_else(Vec::new, |(code, _)| close_payload(code, ""));
                    out.extend(frame(Opcode::Close, &code));
                    break true;
                }
                Err(error) => {
                    out.extend(close(error.close_code(), ""));
                    break true;
                }
            }
        };
        stream.write_all(&out)?;
        if over {
            stream.shutdown(std::net::Shutdown::Write)?;
            while stream.read(&mut buffer)? > 0 {}
            return Ok(());
        }
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        input = &mut buffer[..length];
    }
}

/// Answers the request; tells what was agreed upon and where the head ended.
fn shake_hands(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<(Option<Agreement>, usize)> {
    loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&buffer[..length]);
        let Ok(Status::Complete((head, head_length))) = Head::parse(read) else { continue };
        let key = head.websocket_key().ok_or(io::ErrorKind::InvalidData)?;
        // As offered, so that the cases with context takeover and with windows have something to meet.
        let config = DeflateConfig::OFFICIAL;
        let offers = head.headers().filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
        let answer = config.answer(offers.map(|(_, value)| value), &Budget::new(usize::MAX));
        let header = answer.iter().map(|answer| ("Sec-WebSocket-Extensions", answer.header.as_bytes()));
        stream.write_all(&switching_protocols(key, header))?;
        return Ok((answer.map(|answer| answer.agreement), head_length));
    }
}

/// How messages go back.
enum Echo {
    Plain,
    Alone(Agreement, Compressor),
    TakenOver(Deflater),
}

impl Echo {
    fn new(agreement: Option<Agreement>) -> Self {
        match agreement {
            None => Self::Plain,
            Some(agreement) if agreement.server_no_context_takeover => {
                Self::Alone(agreement, Compressor::new())
            }
            Some(agreement) => Self::TakenOver(Deflater::new(agreement.server_max_window_bits)),
        }
    }

    fn data(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let mut deflated = Vec::new();
        match self {
            Self::Plain => return out.extend(frame(opcode, payload)),
            Self::Alone(agreement, compressor) => {
                compressor.deflate(payload, agreement.server_max_window_bits, &mut deflated);
            }
            Self::TakenOver(deflater) => deflater.deflate(payload, &mut deflated),
        }
        out.extend(deflated_frame(opcode, &deflated));
    }
}
