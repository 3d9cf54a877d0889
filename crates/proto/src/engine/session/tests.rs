//! The turns of a session, on a virtual clock. What does not say otherwise holds in both versions, and is run in v4.

use super::*;

#[test]
fn a_ping_goes_out_after_the_interval_and_silence_ends_the_session() {
    let mut world = World::new(Transport::WebSocket);
    assert_eq!(world.at(24_999), []);
    assert_eq!(world.at(25_000), [Output::Ping]);
    assert_eq!(world.at(44_999), []);
    assert_eq!(world.at(45_000), [Output::CloseWebSocket, Output::Closed(CloseReason::PingTimeout)]);
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn a_timer_that_rings_late_costs_the_client_nothing() {
    let mut world = World::new(Transport::WebSocket);
    assert_eq!(world.at(25_002), [Output::Ping]);
    assert_eq!(world.at(45_000), [Output::CloseWebSocket, Output::Closed(CloseReason::PingTimeout)]);
    let mut world = World::new(Transport::WebSocket);
    assert_eq!(world.at(60_000), [Output::Ping]);
    assert_eq!(world.at(79_999), []);
}

#[test]
fn a_poll_after_the_end_is_refused_although_no_timer_rang() {
    let mut world = World::new(Transport::Polling);
    world.at(25_000);
    assert_eq!(world.poll_at(45_000), [Output::Closed(CloseReason::PingTimeout), Output::RefuseRequest]);
}

#[test]
fn a_pong_starts_the_interval_anew() {
    let mut world = World::new(Transport::WebSocket);
    world.at(25_000);
    assert_eq!(world.packet_at(30_000, Leg::Current, Packet::Pong("")), []);
    assert_eq!(world.at(54_999), []);
    assert_eq!(world.at(55_000), [Output::Ping]);
}

#[test]
fn any_packet_postpones_the_ping_timeout_once_per_ping() {
    let mut world = World::new(Transport::WebSocket);
    world.at(25_000);
    world.packet_at(40_000, Leg::Current, Packet::Noop);
    world.packet_at(50_000, Leg::Current, Packet::Noop);
    assert_eq!(world.at(59_999), []);
    assert_eq!(world.at(60_000), [Output::CloseWebSocket, Output::Closed(CloseReason::PingTimeout)]);
}

#[test]
fn a_paused_reader_never_times_a_client_out() {
    let mut world = World::new(Transport::WebSocket);
    world.at(25_000);
    world.session.suspend_heartbeat();
    assert_eq!(world.session.poll_timeout(), None);
    assert_eq!(world.at(500_000), []);
    world.session.resume_heartbeat(world.now);
    assert_eq!(world.at(525_000), [Output::Ping]);
}

#[test]
fn messages_pass_only_while_the_session_is_open() {
    let mut world = World::new(Transport::WebSocket);
    let message = || Packet::Message(Content::Text("hi"));
    assert!(world.session.handle_packet(Leg::Current, message(), world.now).is_some());
    world.session.discard(CloseReason::ForcedClose);
    assert!(world.session.handle_packet(Leg::Current, message(), world.now).is_none());
}

#[test]
fn packets_that_end_a_session() {
    let rows =
        [(Packet::Ping(""), CloseReason::TransportError), (Packet::Close, CloseReason::TransportClose)];
    for (packet, reason) in rows {
        let mut world = World::new(Transport::WebSocket);
        assert_eq!(
            world.packet_at(1, Leg::Current, packet),
            [Output::CloseWebSocket, Output::Closed(reason)]
        );
    }
}

#[test]
fn two_polls_at_once_end_the_session_and_the_first_hears_close() {
    let mut world = World::new(Transport::Polling);
    assert_eq!(world.poll_at(1), []);
    assert_eq!(
        world.poll_at(2),
        [
            Output::RefuseRequest,
            Output::AnswerPoll(PollAnswer::Close),
            Output::Closed(CloseReason::TransportError)
        ]
    );
    assert_eq!(world.poll_at(3), [Output::RefuseRequest]);
}

#[test]
fn a_client_that_closes_gets_noop_on_its_waiting_poll() {
    let mut world = World::new(Transport::Polling);
    world.poll_at(1);
    assert_eq!(
        world.packet_at(2, Leg::Current, Packet::Close),
        [Output::AnswerPoll(PollAnswer::Noop), Output::Closed(CloseReason::TransportClose)]
    );
}

#[test]
fn an_aborted_poll_ends_the_session() {
    let mut world = World::new(Transport::Polling);
    world.poll_at(1);
    world.session.handle_poll_aborted();
    assert_eq!(world.outputs(), [Output::Closed(CloseReason::TransportError)]);
}

#[test]
fn a_server_close_waits_for_a_poll_and_at_most_thirty_seconds() {
    let mut world = World::new(Transport::Polling);
    world.session.close(world.now);
    assert_eq!(world.outputs(), []);
    assert!(!world.session.is_writable());
    assert_eq!(
        world.poll_at(5),
        [Output::AnswerPoll(PollAnswer::Close), Output::Closed(CloseReason::ForcedClose)]
    );

    let mut world = World::new(Transport::Polling);
    world.session.close(world.now);
    assert_eq!(world.at(29_999), []);
    assert_eq!(world.at(30_000), [Output::Closed(CloseReason::ForcedClose)]);
}

#[test]
fn an_upgrade_frees_the_poll_at_once_and_takes_over() {
    let mut world = World::new(Transport::Polling);
    world.poll_at(1);
    assert!(world.session.handle_probe_opened(world.now));
    assert_eq!(
        world.packet_at(2, Leg::Probe, Packet::Ping("probe")),
        [Output::AnswerProbe, Output::AnswerPoll(PollAnswer::Noop)]
    );
    assert_eq!(world.poll_at(3), [], "the second poll of a probe waits its turn");
    assert_eq!(world.at(102), [Output::AnswerPoll(PollAnswer::Noop)]);
    assert_eq!(world.packet_at(103, Leg::Probe, Packet::Upgrade), [Output::Upgraded]);
    assert_eq!(world.session.transport(), Transport::WebSocket);
    assert!(!world.session.handle_probe_opened(world.now), "a session moves once");
}

#[test]
fn a_poll_during_upgrade_gets_noop() {
    let mut world = World::new(Transport::Polling);
    world.session.handle_probe_opened(world.now);
    assert_eq!(world.packet_at(2, Leg::Probe, Packet::Ping("probe")), [Output::AnswerProbe]);
    assert_eq!(world.poll_at(3), [Output::AnswerPoll(PollAnswer::Noop)]);
}

#[test]
fn a_probe_that_says_anything_else_is_closed_and_another_may_come() {
    for packet in [Packet::Ping("x"), Packet::Noop, Packet::Message(Content::Text("early"))] {
        let mut world = World::new(Transport::Polling);
        world.session.handle_probe_opened(world.now);
        assert_eq!(world.packet_at(1, Leg::Probe, packet), [Output::CloseProbe]);
        assert!(world.session.handle_probe_opened(world.now));
    }
}

#[test]
fn a_probe_that_never_upgrades_is_closed_and_polling_goes_on() {
    let mut world = World::new(Transport::Polling);
    world.session.handle_probe_opened(world.now);
    assert!(!world.session.handle_probe_opened(world.now), "one probe at a time");
    assert_eq!(world.at(10_000), [Output::CloseProbe]);
    assert!(world.session.is_open());
}

#[test]
fn a_session_that_ends_takes_its_probe_along() {
    let mut world = World::new(Transport::Polling);
    world.session.handle_probe_opened(world.now);
    world.session.discard(CloseReason::PingTimeout);
    assert_eq!(world.outputs(), [Output::CloseProbe, Output::Closed(CloseReason::PingTimeout)]);
}

#[test]
fn in_v3_the_client_pings_and_the_server_answers() {
    let mut world = World::v3(Transport::WebSocket);
    assert_eq!(world.session.heartbeat_packet(), Packet::Pong(""));
    assert_eq!(world.at(25_000), [], "the server never pings");
    assert_eq!(world.packet_at(40_000, Leg::Current, Packet::Ping("")), [Output::Ping]);
    assert_eq!(world.packet_at(40_001, Leg::Current, Packet::Ping("again")), [Output::Ping]);
    assert_eq!(world.at(85_000), []);
    assert_eq!(world.at(85_001), [Output::CloseWebSocket, Output::Closed(CloseReason::PingTimeout)]);
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn in_v3_a_client_that_never_pings_has_the_interval_and_the_timeout() {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut world = World::v3(transport);
        assert_eq!(world.session.poll_timeout(), Some(world.start + Duration::from_secs(45)));
        assert_eq!(world.packet_at(44_000, Leg::Current, Packet::Noop), [], "only a ping counts");
        assert_eq!(world.at(44_999), []);
        assert_eq!(world.at(45_000).last(), Some(&Output::Closed(CloseReason::PingTimeout)));
    }
}

#[test]
fn in_v3_a_paused_reader_never_times_a_client_out() {
    let mut world = World::v3(Transport::WebSocket);
    world.session.suspend_heartbeat();
    assert_eq!(world.packet_at(10, Leg::Current, Packet::Ping("")), [Output::Ping]);
    assert_eq!(world.session.poll_timeout(), None);
    assert_eq!(world.at(500_000), []);
    world.session.resume_heartbeat(world.now);
    assert_eq!(world.at(544_999), []);
    assert_eq!(world.at(545_000), [Output::CloseWebSocket, Output::Closed(CloseReason::PingTimeout)]);
}

#[test]
fn a_heartbeat_in_the_wrong_direction_ends_a_session() {
    for (protocol, packet, output) in [
        (Protocol::V3, Packet::Ping(""), Output::Ping),
        (Protocol::V3, Packet::Pong(""), Output::Closed(CloseReason::TransportError)),
        (Protocol::V4, Packet::Ping(""), Output::Closed(CloseReason::TransportError)),
    ] {
        let mut world = World::with(protocol, Transport::WebSocket);
        assert_eq!(world.packet_at(1, Leg::Current, packet).last(), Some(&output), "{protocol:?}");
    }
    let mut world = World::new(Transport::WebSocket);
    assert_eq!(world.packet_at(1, Leg::Current, Packet::Pong("")), [], "a pong that nobody asked for");
}

#[test]
fn transports_are_the_same_in_both_versions() {
    for protocol in [Protocol::V3, Protocol::V4] {
        let mut world = World::with(protocol, Transport::Polling);
        world.poll_at(1);
        assert!(world.session.handle_probe_opened(world.now));
        assert_eq!(
            world.packet_at(2, Leg::Probe, Packet::Ping("probe")),
            [Output::AnswerProbe, Output::AnswerPoll(PollAnswer::Noop)]
        );
        assert_eq!(world.packet_at(3, Leg::Probe, Packet::Upgrade), [Output::Upgraded]);
        assert_eq!(world.session.transport(), Transport::WebSocket);

        let mut world = World::with(protocol, Transport::Polling);
        world.session.handle_probe_opened(world.now);
        assert_eq!(world.packet_at(1, Leg::Probe, Packet::Ping("")), [Output::CloseProbe]);

        let mut world = World::with(protocol, Transport::Polling);
        world.poll_at(1);
        assert_eq!(
            world.packet_at(2, Leg::Current, Packet::Close),
            [Output::AnswerPoll(PollAnswer::Noop), Output::Closed(CloseReason::TransportClose)]
        );

        let mut world = World::with(protocol, Transport::Polling);
        world.poll_at(1);
        assert_eq!(world.poll_at(2).last(), Some(&Output::Closed(CloseReason::TransportError)));

        let mut world = World::with(protocol, Transport::Polling);
        world.session.close(world.now);
        assert_eq!(
            world.poll_at(5),
            [Output::AnswerPoll(PollAnswer::Close), Output::Closed(CloseReason::ForcedClose)]
        );

        let mut world = World::with(protocol, Transport::WebSocket);
        world.session.handle_malformed(Leg::Current);
        assert_eq!(world.outputs(), [Output::CloseWebSocket, Output::Closed(CloseReason::ParseError)]);
    }
}

#[test]
fn in_v3_the_deadline_survives_the_upgrade() {
    let mut world = World::v3(Transport::Polling);
    assert_eq!(world.packet_at(20_000, Leg::Current, Packet::Ping("")), [Output::Ping]);
    world.session.handle_probe_opened(world.now);
    world.packet_at(20_001, Leg::Probe, Packet::Ping("probe"));
    world.packet_at(20_002, Leg::Probe, Packet::Upgrade);
    assert_eq!(world.at(64_999), []);
    assert_eq!(world.at(65_000), [Output::CloseWebSocket, Output::Closed(CloseReason::PingTimeout)]);
}

struct World {
    session: Session,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(transport: Transport) -> Self {
        let start = Instant::now();
        Self { session: Session::new(Timing::default(), transport, start), start, now: start }
    }

    fn v3(transport: Transport) -> Self {
        Self::with(Protocol::V3, transport)
    }

    fn with(protocol: Protocol, transport: Transport) -> Self {
        let start = Instant::now();
        let session = Session::with_protocol(Timing::default(), protocol, transport, start);
        Self { session, start, now: start }
    }

    fn to(&mut self, millis: u64) {
        self.now = self.start + Duration::from_millis(millis);
    }

    fn at(&mut self, millis: u64) -> Vec<Output> {
        self.to(millis);
        self.session.handle_timeout(self.now);
        self.outputs()
    }

    fn poll_at(&mut self, millis: u64) -> Vec<Output> {
        self.to(millis);
        self.session.handle_poll(self.now);
        self.outputs()
    }

    fn packet_at(&mut self, millis: u64, leg: Leg, packet: Packet<'_>) -> Vec<Output> {
        self.to(millis);
        self.session.handle_packet(leg, packet, self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }
}
