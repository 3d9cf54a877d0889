//! Our client and our server: the rows that hold against the official one.

#[path = "../../../crates/client/tests/harness/mod.rs"]
mod harness;
#[path = "../../../crates/client/tests/rows/mod.rs"]
mod rows;

use harness::Software;

rows!(Software::Ours(env!("CARGO_BIN_EXE_conformance").into());
    a_client_moves_from_polling_to_a_websocket,
    polling_alone_does,
    a_websocket_alone_does,
    payloads_are_typed_raw_or_several,
    acks_go_both_ways_and_may_be_late,
    attachments_go_both_ways,
    namespaces_share_one_connection,
    credentials_are_shown,
    a_refusal_is_told_and_can_be_mended,
    a_client_that_is_put_out_stays_out_until_it_asks,
    the_request_carries_headers_and_query,
    a_client_outlives_its_server,
    what_was_missed_comes_before_a_client_goes_on,
    a_dead_wire_is_noticed_by_the_missing_pings,
    volatile_events_are_dropped_while_the_client_is_out,
    a_client_says_goodbye,
    limits_have_outcomes,
);
