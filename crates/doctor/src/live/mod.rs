//! A deployment that runs: asks it as clients do, and judges what it answers.

mod broadcast;
mod facts;
mod hold;
mod options;
mod sample;
mod shake;
mod verdict;

use crate::report::Report;
use facts::{Cors, Facts, Hello, Redirect};
use http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, LOCATION, ORIGIN};
use http::{HeaderMap, HeaderValue};
use shake::Site;
use sockeye_client::{Address, Tls};
use tokio::task::JoinSet;

pub use options::{Broadcast, Options, Unreachable};

/// Examines it: takes as long as [`Options::hold`] says, and a little more.
///
/// # Errors
/// [`Unreachable`]: nothing could be examined.
pub async fn examine(options: &Options) -> Result<Report, Unreachable> {
    Ok(verdict::judge(&Box::pin(gather(options)).await?))
}

async fn gather(options: &Options) -> Result<Facts, Unreachable> {
    let site = Site::new(Address::parse(&options.url)?, &options.path, options.tls.clone());
    let (hello, silent) = match site.hello(4, &HeaderMap::new()).await {
        Ok((hello, _)) => (hello, None),
        // Some servers say nothing at all at a path that is not theirs.
        Err(silent @ Unreachable::Silent(_)) => (Hello::Nothing, Some(silent)),
        Err(Unreachable::Http(error)) => match error.distrust() {
            Some(why) => (Hello::Untrusted(why), None),
            None => return Err(error.into()),
        },
        Err(error @ Unreachable::Config(_)) => return Err(error),
    };
    let mut facts = Facts { path: site.path.clone(), hello, ..Facts::default() };
    match redirect(&site, options.http_port).await {
        Ok(redirect) => facts.redirect = redirect,
        Err(why) => facts.unseen.push(format!(
            "whether port {} sends people to HTTPS could not be looked at: {why} (--http-port says another)",
            options.http_port
        )),
    }
    if matches!(facts.hello, Hello::Untrusted(_)) {
        return Ok(facts);
    }
    if !matches!(facts.hello, Hello::Greeting(_) | Hello::NoPolling) {
        facts.right_path = other_path(&site).await;
        return match silent {
            Some(silent) if facts.right_path.is_none() => Err(silent),
            Some(_) | None => Ok(facts),
        };
    }
    facts.old_clients = matches!(site.hello(3, &HeaderMap::new()).await, Ok((Hello::Old, _)));
    facts.websocket = Some(site.websocket(None, &HeaderMap::new()).await);
    if matches!(facts.hello, Hello::Greeting(_)) {
        facts.with_cookies = Some(sample::sessions(&site, options.connects, true).await);
        let sets = facts.with_cookies.as_ref().is_some_and(|sample| !sample.cookies.is_empty());
        if sets {
            facts.without_cookies = Some(sample::sessions(&site, options.connects, false).await);
        }
        match cors(&site, options.origin.as_deref()).await {
            Ok(cors) => facts.cors = Some(cors),
            Err(why) => facts
                .unseen
                .push(format!("what a page of another origin is told (CORS) could not be looked at: {why}")),
        }
    }
    if let Some(broadcast) = &options.broadcast {
        facts.broadcast = Some(broadcast::measure(options, broadcast, facts.can_websocket()).await);
    }
    facts.holds = hold::both(options, &facts).await;
    Ok(facts)
}

/// Where Engine.IO answers, if not at the path that was given.
async fn other_path(site: &Site) -> Option<String> {
    let own = site.http_address().path.trim_end_matches('/').to_owned();
    let given = site.path.trim_end_matches('/').to_owned();
    let candidates = [
        "/socket.io/".to_owned(),
        format!("{own}/socket.io/"),
        format!("{own}/"),
        format!("{given}/socket.io/"),
        "/ws/socket.io/".to_owned(),
        "/api/socket.io/".to_owned(),
        "/engine.io/".to_owned(),
    ];
    // All at once: where one is answered by silence, the others are not.
    let mut asked = JoinSet::new();
    for (order, path) in candidates.into_iter().enumerate().filter(|(_, path)| *path != site.path) {
        let there = site.at(&path);
        asked.spawn(async move {
            let hello = there.hello(4, &HeaderMap::new()).await;
            matches!(hello, Ok((Hello::Greeting(_) | Hello::Old | Hello::NoPolling, _)))
                .then_some((order, path))
        });
    }
    let answered = asked.join_all().await;
    answered.into_iter().flatten().min().map(|(_, path)| path)
}

/// What a page of another origin is told.
async fn cors(site: &Site, origin: Option<&str>) -> Result<Cors, String> {
    let asked = origin.unwrap_or("https://page.example").to_owned();
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, HeaderValue::from_str(&asked).map_err(|error| error.to_string())?);
    let (_, reply) = site.hello(4, &headers).await.map_err(|error| error.to_string())?;
    let text = |name| reply.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Cors {
        asked,
        given: origin.is_some(),
        allows: text(ACCESS_CONTROL_ALLOW_ORIGIN),
        credentials: text(ACCESS_CONTROL_ALLOW_CREDENTIALS).as_deref() == Some("true"),
    })
}

/// What HTTP answers beside HTTPS.
async fn redirect(site: &Site, port: u16) -> Result<Option<Redirect>, String> {
    if !site.http_address().tls {
        return Ok(None);
    }
    let address = Address { tls: false, port, ..site.http_address().clone() };
    let target = format!("{}?doctor=1", site.path);
    let wanted = format!("{}{target}", Address { tls: true, ..site.http_address().clone() }.origin());
    let reply = Site::new(address, &site.path, Tls::default()).plain(&target).await;
    let reply = reply.map_err(|error| error.to_string())?;
    let location = reply.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Some(Redirect { port, status: reply.status.as_u16(), location, wanted }))
}
