//! The stream in which events are kept, and the bucket of sessions beside it (`docs/nats.md`, "With recovery").

use std::time::Duration;

use async_nats::Client;
use async_nats::header::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{
    Context, ContextBuilder, CreateStreamError, CreateStreamErrorKind, PublishAckFuture, PublishError,
    RequestErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, LastRawMessageErrorKind, Republish, Stream,
};
use bytes::Bytes;
use futures_util::StreamExt;
use sockeye_cluster::adapter::AdapterError;

use crate::config::Recovery;
use crate::failure::{jetstream as refused, unreachable, with_causes};

/// How long JetStream may take for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// How many events are read one by one before a consumer reads the rest: most clients have missed a few, or none.
const READ_SINGLY: usize = 8;

/// How many events a consumer hands out at a time.
const READ_AT_ONCE: u64 = 512;

/// When the server may forget a consumer that nobody reads.
const CONSUMER_IDLE: Duration = Duration::from_secs(30);

/// The events of all namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    context: Context,
    stream: Stream,
    pub(crate) bucket: Stream,
}

/// An event in the stream.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// Where the stream begins and ends. Of an empty one the first is behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Extent {
    /// Whether everything after this place is still there.
    pub(crate) const fn holds_all_after(self, place: u64) -> bool {
        self.first <= place + 1 && place <= self.last
    }
}

impl Log {
    /// Finds or makes stream and bucket.
    pub(crate) async fn open(
        client: &Client,
        prefix: &str,
        recovery: &Recovery,
    ) -> Result<Self, AdapterError> {
        let context = ContextBuilder::new().timeout(ANSWER_WAIT).build(client.clone());
        let config = stream_config(prefix, recovery);
        let stream = context.get_or_create_stream(config.clone()).await;
        let stream = stream.map_err(|error| not_created(&error, &config.name))?;
        let found = &stream.cached_info().config;
        if found.republish != config.republish || found.subjects != config.subjects {
            return Err(AdapterError::Refused(format!(
                "the stream {} is there and is another: remove it, or give another ?prefix=",
                config.name
            )));
        }
        let config = bucket_config(prefix, recovery);
        let bucket = context.get_or_create_stream(config.clone()).await;
        let bucket = bucket.map_err(|error| not_created(&error, &config.name))?;
        Ok(Self { context, stream, bucket })
    }

    /// Begins to publish an event; its sequence is known when the future ends.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, PublishError> {
        let message = PublishMessage::build().payload(payload).headers(headers);
        self.context.send_publish(subject, message).await
    }

    /// Publishes to any subject of JetStream, and waits for its word.
    pub(crate) async fn put(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.publish(subject, headers, payload).await?.await.map(drop)
    }

    /// The longest message that the server takes, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.context.client().max_payload()
    }

    /// Where the stream begins and ends, by the word of its leader.
    pub(crate) async fn extent(&self) -> Result<Extent, AdapterError> {
        let info = Box::pin(self.stream.get_info()).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => no_jetstream(),
            RequestErrorKind::TimedOut | RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                unreachable(with_causes(&error))
            }
        })?;
        Ok(Extent { first: info.state.first_sequence, last: info.state.last_sequence })
    }

    /// Reads what is on these subjects after `after`, to `to`, in order, until `each` says `false`. What the stream has forgotten is left out.
    pub(crate) async fn read(
        &self,
        subjects: &str,
        after: u64,
        to: u64,
        mut each: impl FnMut(Kept) -> bool,
    ) -> Result<(), AdapterError> {
        let mut place = after;
        // Only the leader knows the end for certain, so it has the last word.
        for singly in 0.. {
            if place >= to {
                return Ok(());
            }
            if singly % (READ_SINGLY + 1) == READ_SINGLY {
                place = Box::pin(self.read_on(subjects, place, to, &mut each)).await?;
                continue;
            }
            let Some(kept) = Box::pin(self.next(subjects, place)).await? else { return Ok(()) };
            place = kept.sequence;
            if place > to || !each(kept) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first event after a place.
    async fn next(&self, subjects: &str, after: u64) -> Result<Option<Kept>, AdapterError> {
        match self.stream.get_first_raw_message_by_subject(subjects, after + 1).await {
            Ok(message) => Ok(Some(Kept {
                sequence: message.sequence,
                subject: message.subject.to_string(),
                headers: message.headers,
                payload: message.payload,
            })),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::NO_MESSAGE_FOUND =>
                {
                    Ok(None)
                }
                LastRawMessageErrorKind::JetStream(_)
                | LastRawMessageErrorKind::InvalidSubject
                | LastRawMessageErrorKind::Other => Err(unreachable(with_causes(&error))),
            },
        }
    }

    /// Reads by a consumer what it has when it is made; returns how far that was, or `to`, if `each` has had enough.
    async fn read_on(
        &self,
        subjects: &str,
        after: u64,
        to: u64,
        each: &mut impl FnMut(Kept) -> bool,
    ) -> Result<u64, AdapterError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            filter_subject: subjects.to_owned(),
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_IDLE,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer: Consumer<pull::Config> =
            self.stream.create_consumer(config).await.map_err(|error| unreachable(with_causes(&error)))?;
        let read = drain(&consumer, after, to, each).await;
        // The server forgets it anyway, later.
        drop(self.stream.delete_consumer(&consumer.cached_info().name).await);
        read
    }
}

async fn drain(
    consumer: &Consumer<pull::Config>,
    after: u64,
    to: u64,
    each: &mut impl FnMut(Kept) -> bool,
) -> Result<u64, AdapterError> {
    let mut place = after;
    let mut left = consumer.cached_info().num_pending;
    while left > 0 {
        let count = usize::try_from(left.min(READ_AT_ONCE)).expect("it is at most READ_AT_ONCE");
        let fetched = consumer.fetch().max_messages(count).messages().await;
        let mut batch = fetched.map_err(|error| unreachable(with_causes(&error)))?;
        let before = left;
        while let Some(message) = batch.next().await {
            let message = message.map_err(unreachable)?;
            let sequence = message.info().map_err(unreachable)?.stream_sequence;
            left = left.saturating_sub(1);
            place = sequence;
            let message = message.message;
            let kept = Kept {
                sequence,
                subject: message.subject.to_string(),
                headers: message.headers.unwrap_or_default(),
                payload: message.payload,
            };
            if sequence > to || !each(kept) {
                return Ok(to);
            }
        }
        if left == before {
            return Err(unreachable("JetStream ended in the middle of what it announced"));
        }
    }
    Ok(place)
}

fn stream_config(prefix: &str, recovery: &Recovery) -> StreamConfig {
    StreamConfig {
        name: format!("{prefix}-log"),
        subjects: vec![format!("{prefix}-log.>")],
        max_age: recovery.kept,
        max_bytes: i64::from(recovery.bytes_max),
        num_replicas: usize::from(recovery.replicas),
        // Whoever listens hears of an event what it would hear without the stream, and where it stands.
        republish: Some(Republish {
            source: format!("{prefix}-log.>"),
            destination: format!("{prefix}.>"),
            headers_only: false,
        }),
        ..StreamConfig::default()
    }
}

/// A bucket as the official clients make it, so that their tools can look into it.
fn bucket_config(prefix: &str, recovery: &Recovery) -> StreamConfig {
    StreamConfig {
        name: format!("KV_{prefix}-sessions"),
        subjects: vec![format!("$KV.{prefix}-sessions.>")],
        max_messages_per_subject: 1,
        max_age: recovery.kept,
        num_replicas: usize::from(recovery.replicas),
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

fn not_created(error: &CreateStreamError, name: &str) -> AdapterError {
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => refused(&error, &format!("the stream {name}")),
        CreateStreamErrorKind::JetStreamUnavailable => no_jetstream(),
        CreateStreamErrorKind::TimedOut
        | CreateStreamErrorKind::Response
        | CreateStreamErrorKind::ResponseParse => unreachable(with_causes(error)),
        CreateStreamErrorKind::EmptyStreamName
        | CreateStreamErrorKind::InvalidStreamName
        | CreateStreamErrorKind::DomainAndExternalSet
        | CreateStreamErrorKind::NotFound => AdapterError::Refused(with_causes(error)),
    }
}

fn no_jetstream() -> AdapterError {
    AdapterError::Refused(
        "recovery needs JetStream: start nats-server with -js, or leave ?recovery= out".into(),
    )
}
