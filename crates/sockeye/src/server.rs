//! A server in the making: its namespaces and their handlers, settled when it starts to listen.

use crate::admin;
use crate::backplane::{BackplaneEvent, Branch, OnBackplane};
use crate::config::Config;
use crate::core::{Application, Core, OnMessage};
use crate::definition::Definition;
use crate::delivery::{Hub, Sessions};
use crate::doors::Doors;
use crate::engine;
use crate::guest::Guest;
use crate::handle::Handle;
use crate::handler::{Handlers, Refusal};
use crate::handshake::Handshake;
use crate::linked;
use crate::listen::{Listening, bind};
use crate::mesh::Mesh;
use crate::metrics;
use crate::namespace::Namespace;
use crate::neighbours::Neighbours;
use crate::orders;
use crate::realms::{Matcher, OnNamespace, Parent as RealmParent, Realms, Rules};
use crate::service::Service;
use crate::site::Site;
use crate::sweep::sweep;
use crate::worker;
use http::HeaderMap;
use sockeye_cluster::Nsp;
use sockeye_files::Files;
use sockeye_link::Parent;
use sockeye_proto::sid::Tag;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};

/// A Socket.IO server.
///
/// ```no_run
/// use serde_json::json;
/// use sockeye::{Config, Event, Server, Socket};
///
/// # async fn example() -> std::io::Result<()> {
/// let mut io = Server::new(Config::default());
/// io.namespace("/")
///     .on_connect(|socket: Socket| async move { socket.emit("info", json!({"msg": "welcome"})) })
///     .on("msg", async |event: Event| -> sockeye::Result {
///         let msg: String = event.data()?;
///         event.namespace().emit("msg", json!({"msg": msg}))?;
///         Ok(())
///     });
/// io.listen("127.0.0.1:3000").await
/// # }
/// ```
///
/// A socket handles one event at a time, in the order in which they came; a handler that wants to work beside the next event
/// spawns a task. Acks, pings and disconnects never wait for a handler.
pub struct Server {
    config: Config,
    namespaces: BTreeMap<String, Definition>,
    parents: Vec<(Matcher, Definition)>,
    on_namespace: Option<OnNamespace>,
    on_backplane: Option<OnBackplane>,
    on_message: Option<OnMessage>,
    files: Option<Files>,
    doors: Doors,
    mesh: Arc<OnceLock<Mesh>>,
    handle: Handle,
}

impl Server {
    /// Makes a server with the namespace `/`, in which nothing happens yet.
    pub fn new(mut config: Config) -> Self {
        config.path = slashed(&config.path, config.add_trailing_slash);
        let mut server = Self {
            config,
            namespaces: BTreeMap::new(),
            parents: Vec::new(),
            on_namespace: None,
            on_backplane: None,
            on_message: None,
            files: None,
            doors: Doors::default(),
            mesh: Arc::default(),
            handle: Handle::new(),
        };
        server.namespace("/");
        server
    }

    /// Makes a server of bare Engine.IO, without packets, namespaces or rooms: `on_message` hears each message, in order.
    pub fn engine<F>(config: Config, on_message: F) -> Self
    where
        F: Fn(&engine::Client, engine::Message<'_>) + Send + Sync + 'static,
    {
        let mut server = Self::new(config);
        server.on_message = Some(Arc::new(on_message));
        server
    }

    /// The namespace of that name, made at the first call. A missing leading slash is added.
    pub fn namespace(&mut self, name: &str) -> &mut Definition {
        let name = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        let Config { threads, attachments_max, parser, .. } = self.config;
        let mesh = &self.mesh;
        let store = self.config.recovery_store();
        let config = &self.config;
        self.namespaces.entry(name).or_insert_with_key(|name| Definition {
            hub: Arc::new(
                Hub::new(Nsp::new(name), threads.get(), Arc::clone(mesh), attachments_max, parser)
                    .recovering(store.map(Sessions::new))
                    .on_backplane(branch(config, &Nsp::new(name))),
            ),
            handlers: Handlers::default(),
        })
    }

    /// Namespaces that clients bring to life by entering them: those whose name is like `pattern`, where `*` stands for any text.
    /// Each has the guards and handlers that are defined here. What is said by [`Definition::handle`] is said in all of them
    /// that live on this node. Names that were defined go before; then patterns and functions are asked in their order.
    ///
    /// ```
    /// use sockeye::{Config, Event, Server};
    ///
    /// let mut io = Server::new(Config { cleanup_empty_child_namespaces: true, ..Config::default() });
    /// let games = io.dynamic_namespace("/game-*");
    /// games.on("move", async |event: Event| event.namespace().emit("moved", event.args()));
    /// let games = games.handle();
    /// games.emit("maintenance", "in five minutes")?;
    /// # Ok::<_, sockeye::EmitError>(())
    /// ```
    pub fn dynamic_namespace(&mut self, pattern: &str) -> &mut Definition {
        let slash = if pattern.starts_with(['/', '*']) { "" } else { "/" };
        self.parent(Matcher::Pattern(format!("{slash}{pattern}").into()))
    }

    /// The same for names that a function likes. It sees the name and the request with its `auth` payload.
    ///
    /// ```
    /// # use sockeye::{Config, Handshake, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.dynamic_namespace_if(async |name: String, handshake: Handshake| {
    ///     name.starts_with("/team/") && handshake.query("token").is_some()
    /// });
    /// ```
    pub fn dynamic_namespace_if<F, R>(&mut self, check: F) -> &mut Definition
    where
        F: Fn(String, Handshake) -> R + Send + Sync + 'static,
        R: Future<Output = bool> + Send + 'static,
    {
        self.parent(Matcher::Check(Arc::new(move |name, handshake| Box::pin(check(name, handshake)))))
    }

    /// Sets who hears of namespaces that begin: those with a name of their own when the server starts, but for `/`, and those that
    /// clients bring to life before the first of them enters (the official `new_namespace`).
    pub fn on_new_namespace(&mut self, hook: impl Fn(&Namespace) + Send + Sync + 'static) -> &mut Self {
        self.on_namespace = Some(Arc::new(hook));
        self
    }

    /// Sets who hears of the backplane ([`Config::adapter`]): lost connections that are back, and what did not get through. Called by the
    /// task that carries messages, so it has to be quick.
    ///
    /// ```
    /// # use sockeye::{BackplaneEvent, Config, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.on_backplane(|event: &BackplaneEvent| eprintln!("{event:?}"));
    /// ```
    pub fn on_backplane(&mut self, hook: impl Fn(&BackplaneEvent) + Send + Sync + 'static) -> &mut Self {
        self.on_backplane = Some(Arc::new(hook));
        self
    }

    fn parent(&mut self, matcher: Matcher) -> &mut Definition {
        // The official name, which no client can ask for: it is no namespace.
        let nsp = Nsp::new(&format!("/_{}", self.parents.len()));
        let (threads, attachments_max) = (self.config.threads.get(), self.config.attachments_max);
        let sessions = self.config.recovery_store().map(Sessions::new);
        let hub = Hub::new(nsp, threads, Arc::clone(&self.mesh), attachments_max, self.config.parser);
        let branch = branch(&self.config, hub.nsp());
        let hub = Arc::new(hub.recovering(sessions).on_backplane(branch).parent());
        self.parents.push((matcher, Definition { hub, handlers: Handlers::default() }));
        let last = self.parents.len() - 1;
        &mut self.parents[last].1
    }

    /// Sets who decides whether a request may open a session (the official `allowRequest`). The refused hear the message, or
    /// `Forbidden` where it is empty: by 403 on polling, by 400 on a WebSocket. So do those about whom it panics, or says nothing
    /// within [`Config::allow_request_timeout`].
    ///
    /// ```
    /// # use sockeye::{Config, Handshake, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.allow_request(async |request: Handshake| match request.header("authorization") {
    ///     Some(_) => Ok(()),
    ///     None => Err("who are you?".into()),
    /// });
    /// ```
    pub fn allow_request<F, R>(&mut self, allow: F) -> &mut Self
    where
        F: Fn(Handshake) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.doors.allow = Some(Arc::new(move |request| Box::pin(allow(request))));
        self
    }

    /// Adds headers to the answer that opens a session (the official `initial_headers`).
    pub fn initial_headers(
        &mut self,
        hook: impl Fn(&mut HeaderMap, &Handshake) + Send + Sync + 'static,
    ) -> &mut Self {
        self.doors.initial_headers.push(Arc::new(hook));
        self
    }

    /// Adds headers to every answer of the engine that is no refusal (the official `headers`).
    pub fn headers(
        &mut self,
        hook: impl Fn(&mut HeaderMap, &Handshake) + Send + Sync + 'static,
    ) -> &mut Self {
        self.doors.headers.push(Arc::new(hook));
        self
    }

    /// Serves files on every path that is not Socket.IO's.
    pub fn files(&mut self, files: Files) -> &mut Self {
        self.files = Some(files);
        self
    }

    /// A handle with which any task can close the server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Listens until the server is closed. Under `sockeye up` or `sockeye start` the same line takes the place that the
    /// supervisor assigns, and the supervisor opens the address, unless it was told another one.
    ///
    /// # Errors
    /// The address cannot be had, the backplane cannot be reached ([`Config::adapter`]), or the supervisor went away before it assigned a place.
    pub async fn listen(self, address: impl ToSocketAddrs) -> io::Result<()> {
        if let Some(joined) = Parent::from_env().await {
            let (parent, assign) = joined?;
            // Boxed: whoever listens alone need not carry a worker's future.
            let asked = lookup_host(address).await?.next();
            return Box::pin(worker::run(|tag| self.start(tag), parent, assign, asked)).await;
        }
        let listener = bind(address).await?;
        Box::pin(self.serve(listener)).await
    }

    /// Serves a listener of one's own until the server is closed.
    ///
    /// # Errors
    /// The address for metrics cannot be had, or the backplane or the mesh ([`Config::mesh_dir`]) cannot be joined.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let metrics = match self.config.metrics {
            Some(address) => Some(metrics::bind(address).await?),
            None => None,
        };
        let admin = match &self.config.admin {
            Some(config) => Some(admin::Listener::bind(config).await?),
            None => None,
        };
        // Whoever takes a client is known to all that may get its next request.
        let linked = linked::join(&self.config, None, false).await?;
        let tag = linked.as_ref().map_or_else(|| Tag::from_bits(rand::random()), |linked| linked.nodes.tag());
        let listening = self.start(tag);
        // Ends with this future.
        let _links = linked.map(|linked| linked.begin(&listening));
        listening.open_backplane().await?;
        let neighbours = match &listening.site.core.config.mesh_dir {
            Some(dir) => Some(Neighbours::join(&listening, dir).await?),
            None => None,
        };
        let handle = listening.handle.clone();
        let beside = async {
            match metrics {
                Some(metrics) => metrics::serve(metrics, move || handle.stats()).await,
                None => pending().await,
            }
        };
        let asked = async {
            match admin {
                Some(admin) => admin.serve(&listening.handle).await,
                None => pending().await,
            }
        };
        let relayed = async {
            match &neighbours {
                Some(neighbours) => neighbours.accept(&listening).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = listening.run(listener) => {}
            () = beside => {}
            () = asked => {}
            () = relayed => {}
        }
        Ok(())
    }

    /// Joins the other servers as a guest, to speak to their clients and to ask for them: without clients, handlers or a listener. It needs
    /// a mesh ([`Config::mesh_dir`]) that is there, or a backplane ([`Config::adapter`]), which it touches only while it says something.
    ///
    /// ```no_run
    /// use sockeye::{Config, Server};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut io = Server::new(Config { mesh_dir: Some("/run/app/mesh".into()), ..Config::default() });
    /// let news = io.namespace("/news").handle();
    /// let guest = io.visit().await?;
    /// news.to("sports").emit("score", (2, 1))?;
    /// guest.leave().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is neither, or the mesh cannot be joined.
    pub async fn visit(self) -> io::Result<Guest> {
        Guest::join(self.start(Tag::from_bits(rand::random()))).await
    }

    /// Makes a tower service for an axum, hyper or tower server of one's own. It answers whatever is routed to it; requests
    /// need hyper's upgrades for WebSockets (`axum::serve` has them).
    pub fn into_service(self) -> Service {
        let tag = Tag::from_bits(rand::random());
        let listening = self.start(tag);
        Service::new(listening)
    }

    /// Settles everything.
    pub(crate) fn start(self, tag: Tag) -> Listening {
        let application = match self.on_message {
            Some(on_message) => Application::Engine(on_message),
            None => {
                let settled = self.namespaces.into_iter();
                let parents = self.parents.into_iter().map(|(matcher, Definition { hub, handlers })| {
                    RealmParent { matcher, hub, handlers: Arc::new(handlers) }
                });
                let rules = Rules {
                    cleanup: self.config.cleanup_empty_child_namespaces,
                    children_max: self.config.child_namespaces_max as usize,
                    on_new: self.on_namespace,
                    on_backplane: self.on_backplane,
                    // Whoever enters first does not wait for it: what is said goes out when it is open.
                    open: |realm, hook| drop(orders::open(realm, hook, false)),
                };
                Application::SocketIo(Realms::new(
                    settled.map(|(name, Definition { hub, handlers })| (name, hub, Arc::new(handlers))),
                    parents.collect(),
                    rules,
                ))
            }
        };
        let core = Core::new(self.config, tag, application, self.mesh);
        self.handle.start(&core);
        if core.config.connection_state_recovery.is_some() {
            // Ends with the server: it only looks whether there still is one.
            tokio::spawn(sweep(Arc::downgrade(&core)));
        }
        Listening { site: Site::new(core, self.files, self.doors), handle: self.handle }
    }
}

/// The place of a namespace on the backplane, if there is one.
fn branch(config: &Config, nsp: &Nsp) -> Option<Branch> {
    let adapter = config.adapter.clone()?;
    let bytes_max = usize::try_from(config.backplane_bytes_max).unwrap_or(usize::MAX);
    // A client goes on from the last event that it met, so that all servers have to deliver them in one order.
    let ordered = adapter.traits().offsets && config.connection_state_recovery.is_some();
    Some(Branch::new(adapter, nsp.clone(), ordered, bytes_max))
}

fn slashed(path: &str, trailing: bool) -> String {
    let bare = path.trim_matches('/');
    match (bare.is_empty(), trailing) {
        (true, _) => "/".to_owned(),
        (false, true) => format!("/{bare}/"),
        (false, false) => format!("/{bare}"),
    }
}
