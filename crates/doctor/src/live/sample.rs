//! Sessions by polling, one after the other: does each request find the server that knows it?

use super::facts::{Dialed, Hello, Sample, SetCookie};
use super::shake::{Site, is_unknown_sid};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// Opens so many sessions, with what servers and balancers set as cookies, or without.
pub(super) async fn sessions(site: &Site, count: u32, cookies: bool) -> Sample {
    let mut sample = Sample::default();
    for _ in 0..count {
        session(site, cookies, &mut sample).await;
    }
    sample
}

async fn session(site: &Site, cookies: bool, sample: &mut Sample) {
    let mut headers = HeaderMap::new();
    let sid = match site.hello(4, &headers).await {
        Ok((Hello::Greeting(greeting), head)) => {
            take_cookies(&head, cookies, &mut headers, sample);
            greeting.sid
        }
        Ok((other, _)) => return fail(sample, format!("{other:?}")),
        Err(error) => return fail(sample, error.to_string()),
    };
    sample.sessions += 1;
    let mut lost = false;
    // The server answers the poll with what it says to the CONNECT.
    for step in 0..2 {
        let answer =
            if step == 0 { site.post(&sid, &headers, "40").await } else { site.poll(&sid, &headers).await };
        match answer {
            Ok(reply) if is_unknown_sid(&reply) => lost = true,
            Ok(reply) if reply.status.is_success() => {
                take_cookies(&reply.headers, cookies, &mut headers, sample)
            }
            Ok(reply) => fail(sample, reply.summary()),
            Err(error) => fail(sample, error.to_string()),
        }
        if lost {
            sample.lost += 1;
            return;
        }
    }
    sample.websocket_tried += 1;
    match site.websocket(Some(&sid), &headers).await {
        Dialed::Open => {}
        Dialed::Unknown => sample.websocket_lost += 1,
        Dialed::Refused(why) => {
            sample.websocket_refused.0 += 1;
            sample.websocket_refused.1.get_or_insert(why);
        }
    }
    // A goodbye, so that the session does not wait for its ping; what comes of it says nothing more.
    let _ = site.post(&sid, &headers, "1").await;
}

fn fail(sample: &mut Sample, why: String) {
    sample.failed.0 += 1;
    sample.failed.1.get_or_insert(why);
}

fn take_cookies(head: &HeaderMap, keep: bool, headers: &mut HeaderMap, sample: &mut Sample) {
    for value in head.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
        let pair = value.split(';').next().unwrap_or_default().trim();
        let name = pair.split('=').next().unwrap_or_default();
        let lower = value.to_ascii_lowercase();
        let has = |word: &str| lower.split(';').skip(1).any(|part| part.trim() == word);
        let cookie =
            SetCookie { name: name.to_owned(), secure: has("secure"), same_site_none: has("samesite=none") };
        if sample.cookies.len() < COOKIES_MAX && !sample.cookies.iter().any(|known| known.name == cookie.name)
        {
            sample.cookies.push(cookie);
        }
        if keep {
            let others = headers.get(COOKIE).and_then(|own| own.to_str().ok()).unwrap_or_default();
            let others =
                others.split("; ").filter(|other| !other.is_empty() && other.split('=').next() != Some(name));
            let all: Vec<&str> = others.chain([pair]).collect();
            if let Ok(all) = HeaderValue::from_str(&all.join("; ")) {
                headers.insert(COOKIE, all);
            }
        }
    }
}

const COOKIES_MAX: usize = 16;
