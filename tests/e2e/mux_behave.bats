#!/usr/bin/env bats
# What the kernel's own KCM does, case by case, and where the mux does better.
bats_require_minimum_version 1.5.0
load common

# program case
behaves() {
	run "$BUILD/tests/mux_behave_$1" "$2"
	echo "$output"
	((status == 0))
}

@test "bad length: an event behind the connection's messages, others go on" { behaves err bad-length; }
@test "longer than the maximum: EMSGSIZE; exactly the maximum passes" { behaves err too-big; }
@test "a delimiter that does not come: EMSGSIZE" { behaves err too-long-line; }
@test "half a message, then close: all whole ones, then EPIPE" { behaves err truncated; }
@test "assembly time-out from SO_RCVTIMEO; an idle connection stays" { behaves err timeout-socket; }
@test "assembly time-out from the mux's options" { behaves err timeout-opts; }
@test "assembly time-out of a long message" { behaves err timeout-big; }
@test "keep_on_error: it can be answered, and goes with its client" { behaves err keep-on-error; }
@test "worker killed: its queue goes to others, what it had is lost or redelivered" { behaves work killed; }
@test "worker leaves: nothing is lost" { behaves work closed; }
@test "receive-disable: the queue goes to others" { behaves work disabled; }
@test "nobody receives: TCP's backpressure, then all of it in order" { behaves work backpressure; }
@test "poll descriptor: 500 000 ping-pongs, no wake-up is missed" { behaves work poll-fd; }
@test "four writers, one slow client: replies are whole" { behaves send whole-replies; }
@test "KCM_MORE and kcm_flush(): together, and not later than promised" { behaves send more; }
@test "replies for a client that does not read: -EAGAIN, KCM_WAIT" { behaves send tx-limit; }
@test "kcm_send_any(): the least loaded connection, never a dead one" { behaves send send-any; }
@test "detach under load, short messages" { behaves detach small; }
@test "detach under load, messages in pieces" { behaves detach pieces; }
@test "detach under load, long messages" { behaves detach big; }
@test "detach from a mux without room" { behaves detach held; }
@test "statistics are exact" { behaves stat exact; }
@test "one event a connection, whatever ends it" { behaves stat one-event; }
