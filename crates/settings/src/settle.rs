//! What a file and the environment mean together, and what they cannot mean.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Map, json};
use sockeye_edge::config::{Affinity, Cidr, Config, Does, Endpoint, Listener, Members, Serves, Site};
use sockeye_supervisor::AppSpec;

use crate::app::{self, App};
use crate::complaint::{Complaint, Refused};
use crate::desk::{Desk, one_of};
use crate::environment;
use crate::facts::Facts;
use crate::keys::ROOT;
use crate::listen::{self, CIDR_EXPECTED, Opening};
use crate::place::{Place, Source};
use crate::rest::{self, Admin, Cluster};
use crate::shadows;
use crate::site;
use crate::tree::{self, Node, Table, Value};
use crate::upstream;

/// What runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What the edge is told.
    pub edge: Config,
    /// The programs behind it, each with a group of its name.
    pub apps: Vec<App>,
    /// Where an operator is served.
    pub admin: Admin,
    /// What is shared with other machines.
    pub cluster: Cluster,
    /// What can be so, but is hardly meant.
    pub warnings: Vec<Complaint>,
}

/// Reads a file, lays the environment over it, and settles what both mean.
///
/// # Errors
///
/// Everything that is wrong, each with its place.
pub fn settle(
    name: &str,
    text: &str,
    variables: &[(String, String)],
    facts: &Facts<'_>,
) -> Result<Settled, Refused> {
    let source = Source { name, text };
    let root = tree::read(source).map_err(|complaint| Refused(vec![complaint]))?;
    settle_tree(source, root, variables, facts)
}

/// The same of a file that another reader has read, and that says of nothing but apps: a process file of pm2.
///
/// # Errors
///
/// Everything that is wrong, with its app.
pub fn settle_apps(
    name: &str,
    apps: &[(String, AppSpec)],
    variables: &[(String, String)],
    facts: &Facts<'_>,
) -> Result<Settled, Refused> {
    let written =
        json!({ "app": apps.iter().map(|(name, spec)| (name.clone(), json!(spec))).collect::<Map<_, _>>() });
    let root = match tree::of_json(written) {
        Some(Node { value: Value::Table(root), .. }) => root,
        _ => Table::new(),
    };
    settle_tree(Source { name, text: "" }, root, variables, facts)
}

fn settle_tree(
    source: Source<'_>,
    mut root: Table,
    variables: &[(String, String)],
    facts: &Facts<'_>,
) -> Result<Settled, Refused> {
    let mut desk = Desk { source, complaints: Vec::new(), warnings: Vec::new() };
    environment::overlay(&mut root, variables, &mut desk.complaints);
    let whole = Node { place: Place::File(0..0), value: Value::Table(root) };
    let settled = whole_file(&mut desk, &whole, facts);
    match settled {
        Some(settled) if desk.complaints.is_empty() => Ok(Settled { warnings: desk.warnings, ..settled }),
        _ => Err(Refused(desk.complaints)),
    }
}

fn whole_file(desk: &mut Desk<'_>, whole: &Node, facts: &Facts<'_>) -> Option<Settled> {
    let sheet = desk.open("", whole, &ROOT)?;
    let Value::Table(root) = &whole.value else { return None };
    let cluster = rest::cluster(desk, root, facts);
    let openings = listen::listeners(desk, root, facts);
    let groups = upstream::groups(desk, root, cluster.adapter.as_deref(), facts);
    let written = site::sites(desk, root, facts);
    let mut openings = openings;
    let apps_written = app::apps(desk, root, facts);
    open_ports(desk, &mut openings, &apps_written, root.contains_key("listen"));
    // Programs alone, and nothing said of where clients come in: they ask for their addresses themselves.
    let programs = apps_written.iter().all(|written| written.app.bundled.is_none());
    let unsaid = ["listen", "site", "upstream"].iter().all(|key| !root.contains_key(*key));
    if programs && unsaid && !apps_written.is_empty() {
        openings.retain(|opening| opening.upstream.is_some());
    }
    let mut apps: Vec<App> = apps_written.into_iter().map(|written| written.app).collect();
    let answers_itself = |opening: &Opening| match &opening.listener.serves {
        Serves::Http(http) => http.redirect.is_some(),
        Serves::Tcp { .. } => true,
    };
    // Whoever names nobody to answer is shown the chat.
    if apps.is_empty() && groups.is_empty() && written.is_empty() && !openings.iter().all(answers_itself) {
        apps.push(App::chat());
    }
    for written in &groups {
        if apps.iter().any(|app| app.name == written.group.name) {
            let name = &written.group.name;
            desk.refuse_at(
                &written.place,
                &format!("upstream.{name}"),
                format!("there is an app with the name {name}: choose another"),
            );
        }
    }
    let mut config = Config {
        trust: sheet.list(desk, "trust", CIDR_EXPECTED, |text| text.parse::<Cidr>().ok()).unwrap_or_default(),
        ..Config::default()
    };
    check_sticky(desk, &groups, &openings, &written);
    let led: Vec<(String, Place)> =
        groups.iter().map(|written| (written.group.name.clone(), written.place.clone())).collect();
    config.groups = apps
        .iter()
        .map(|app| app.group(facts.cores, cluster.adapter.is_some()))
        .chain(groups.into_iter().map(|written| written.group))
        .collect();
    config.access_log = rest::access_log(desk, root, facts);
    rest::limits(desk, root, &mut config);
    let names: Vec<String> = config.groups.iter().map(|group| group.name.clone()).collect();
    check_listeners(desk, &openings, &names);
    check_sites(desk, &written, &openings, &names);
    shadows::sites(desk, &written, &openings);
    config.sites = sites(desk, &openings, written, &names);
    shadows::groups(desk, &config.sites, &openings, &led);
    config.listeners = openings.into_iter().map(|opening| opening.listener).collect();
    let admin = rest::admin(desk, root, facts);
    if let Some(address) = &admin.address
        && config.listeners.iter().any(|listener| listener.at == *address && !is_any_port(address))
    {
        desk.refuse_at(
            &sheet.place,
            "admin.address",
            format!("a listener has {address} already: choose another"),
        );
    }
    Some(Settled { edge: config, apps, admin, cluster, warnings: Vec::new() })
}

/// Each app that names a port has a listener there.
fn open_ports(desk: &mut Desk<'_>, openings: &mut Vec<Opening>, apps: &[app::Written], says_listen: bool) {
    let with_port = apps.iter().filter_map(|written| Some((written, written.app.spec.port?)));
    for (index, (written, port)) in with_port.enumerate() {
        if index == 0 && !says_listen {
            openings.clear();
        }
        let host = written.app.spec.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let key = format!("app.{}.port", written.app.name);
        let at = Endpoint::Tcp(SocketAddr::new(host, port));
        if openings.iter().any(|other| listen::clash(&other.listener.at, &at)) {
            desk.refuse_at(
                &written.place,
                &key,
                format!("another listener has {at} already: choose another port"),
            );
        }
        let listener = Listener { name: written.app.name.clone(), at, ..Listener::default() };
        openings.push(Opening {
            listener,
            place: written.place.clone(),
            key,
            upstream: Some(written.app.name.clone()),
        });
    }
}

fn is_any_port(address: &Endpoint) -> bool {
    matches!(address, Endpoint::Tcp(address) if address.port() == 0)
}

/// The sites: what a listener says of itself, what the file says, and else everything to the only group.
fn sites(
    desk: &mut Desk<'_>,
    openings: &[Opening],
    written: Vec<site::Written>,
    names: &[String],
) -> Vec<Site> {
    let is_http = |opening: &&Opening| matches!(opening.listener.serves, Serves::Http(_));
    let own = openings.iter().filter(is_http).filter_map(|opening| {
        let group = opening.upstream.as_ref()?;
        Some(Site { listeners: vec![opening.listener.name.clone()], ..Site::everything(group) })
    });
    let unspoken = written.is_empty()
        && openings.iter().any(|opening| match &opening.listener.serves {
            Serves::Http(http) => opening.upstream.is_none() && http.redirect.is_none(),
            Serves::Tcp { .. } => false,
        });
    // What the file says of hosts and paths counts before what a listener says of everything.
    let mut sites: Vec<Site> = written.into_iter().map(|written| written.site).chain(own).collect();
    if unspoken {
        match names {
            [only] => sites.push(Site::everything(only)),
            [] => {}
            several => desk.refuse_at(
                &Place::File(0..0),
                "site",
                format!("there are several groups ({}): say in a [[site]], or by upstream of [[listen]], what goes to which", several.join(", ")),
            ),
        }
    }
    sites
}

fn check_listeners(desk: &mut Desk<'_>, openings: &[Opening], names: &[String]) {
    for opening in openings {
        if let Some(group) = &opening.upstream
            && !names.contains(group)
        {
            let message = no_such(group, "upstream or app", names);
            desk.refuse_at(&opening.place, &format!("{}.upstream", opening.key), message);
        }
    }
}

/// What names a server has to be readable: a listener in TCP mode reads nothing, and an address is all that it has.
fn check_sticky(
    desk: &mut Desk<'_>,
    groups: &[upstream::Written],
    openings: &[Opening],
    sites: &[site::Written],
) {
    for written in groups {
        let (name, affinity) = (&written.group.name, &written.group.affinity);
        let Some(place) = &written.sticky else { continue };
        let leads = |opening: &&Opening| opening.upstream.as_ref() == Some(name);
        let is_tcp = |opening: &Opening| matches!(opening.listener.serves, Serves::Tcp { .. });
        let by_tcp = openings.iter().filter(leads).any(is_tcp);
        // Without a site the only group answers every listener that says nothing.
        let is_open = |opening: &Opening| match &opening.listener.serves {
            Serves::Http(http) => opening.upstream.is_none() && http.redirect.is_none(),
            Serves::Tcp { .. } => false,
        };
        let by_http = openings.iter().filter(leads).any(|opening| !is_tcp(opening))
            || sites.iter().any(|site| is_for(site, name))
            || (sites.is_empty() && openings.iter().any(is_open));
        // Nodes of a directory take on what is another's.
        let needs_one = !matches!(written.group.members, Members::Directory { .. }) && !affinity.is_empty();
        let is_address = |rule: &Affinity| matches!(rule, Affinity::Address { .. } | Affinity::ForwardedFor);
        if by_tcp && !by_http && needs_one && !affinity.iter().any(is_address) {
            desk.refuse_at(
                place,
                &format!("upstream.{name}.sticky"),
                "only listeners with mode = \"tcp\" lead here, which read no sid, cookie or header: expected \"ip\" or \"ip_hash\", or \"none\" where connections may be spread",
            );
        }
    }
}

fn is_for(site: &site::Written, group: &str) -> bool {
    match &site.site.does {
        Does::Relay { group: named } => named == group,
        Does::Files { group: named, .. } => named.as_deref() == Some(group),
        Does::Redirect(_) | Does::Health { .. } => false,
    }
}

fn check_sites(desk: &mut Desk<'_>, written: &[site::Written], openings: &[Opening], names: &[String]) {
    let listeners: Vec<String> = openings.iter().map(|opening| opening.listener.name.clone()).collect();
    for one in written {
        let group = match &one.site.does {
            Does::Relay { group } => Some(group),
            Does::Files { group, .. } => group.as_ref(),
            Does::Redirect(_) | Does::Health { .. } => None,
        };
        if let Some(group) = group.filter(|group| !names.contains(group)) {
            let message = no_such(group, "upstream or app", names);
            desk.refuse_at(&one.place, &format!("{}.upstream", one.key), message);
        }
        for name in one.site.listeners.iter().filter(|name| !listeners.contains(name)) {
            desk.refuse_at(&one.place, &format!("{}.listen", one.key), no_such(name, "listener", &listeners));
        }
    }
}

fn no_such(name: &str, what: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("there is no {what} {name}, nor any other: add [upstream.{name}]");
    }
    format!("there is no {what} {name}: {}", one_of(name, names.iter().map(String::as_str)))
}
